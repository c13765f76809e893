import { PortcullisError } from "../../core/portcullis-error.js";
import type { PasswordReason } from "./policy.js";

/** A password that the rules do not allow was given to `passwords.set`. Nothing was changed. */
export class PasswordRefusedError extends PortcullisError {
  readonly code = "password-refused";
  /** Express's own error handler answers with it when the app passes the error on. */
  readonly status = 422;
  /** Why it cannot be used. */
  readonly reasons: readonly PasswordReason[];

  constructor(reasons: readonly PasswordReason[]) {
    super(`This password cannot be used: ${reasons.join(", ")}.`);
    this.name = "PasswordRefusedError";
    this.reasons = reasons;
  }
}
