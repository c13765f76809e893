import { PortcullisError } from "../../core/portcullis-error.js";

/** A person may not log in. Thrown to code that makes a credential; a route answers as to a wrong password. */
export class AccountDisabledError extends PortcullisError {
  readonly code = "account-disabled";
  /** Express's own error handler answers with it when the app passes the error on. */
  readonly status = 401;

  constructor() {
    super("This person is disabled, so that no session, token or key can be made for them.");
    this.name = "AccountDisabledError";
  }
}
