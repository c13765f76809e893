import { PortcullisError } from "../core/portcullis-error.js";

/**
 * A re-authentication failed because the session has ended: by a log-out, by `sessions.end`, or by its time-out. No
 * user is logged in.
 */
export class SessionEndedError extends PortcullisError {
  readonly code = "session-ended";
  /** Status that Express's own error handler responds with when the app forwards the error. */
  readonly status = 401;

  constructor() {
    super("logIn: the session ended during the call, so it cannot be renewed. The user must log in again.");
    this.name = "SessionEndedError";
  }
}
