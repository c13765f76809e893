import type { Request } from "express";
import type { AuthenticationMethod } from "./authentication.js";
import { PortcullisError } from "./portcullis-error.js";

/** A credential that is about to be made for a principal. */
export interface NewCredential {
  /** What will be made: a session, a token (alone or a family), or an API key on behalf of a person. */
  readonly kind: "session" | "token" | "key";
  /** `Principal.id` of the person or service. */
  readonly id: string;
  /** What has been proved, and when. */
  readonly methods: readonly AuthenticationMethod[];
  /** The request that asks for it, where there is one. */
  readonly req?: Request | undefined;
}

/**
 * Decides whether a credential may be made. Resolves when it may.
 *
 * @throws FactorRequiredError (rejects) when the person owes another factor
 */
export type BeforeCredential = (credential: NewCredential) => Promise<void>;

/**
 * A person has not proved enough for a session, a token or a key: their account has a second factor, or the app requires
 * one, and `methods` does not name it.
 */
export class FactorRequiredError extends PortcullisError {
  readonly code = "factor-required";
  /** Express's own error handler answers with it when the app passes the error on. */
  readonly status = 401;

  constructor() {
    super(
      'This person must prove another factor first. Log in by accounts.routes(), or name what was proved: { id, methods: ["pwd", "totp"] }.',
    );
    this.name = "FactorRequiredError";
  }
}

/** Asked before each credential is made. Without accounts there is nobody to ask, and everything passes. */
export class CredentialGate {
  #ask: BeforeCredential | undefined;

  set(ask: BeforeCredential): void {
    this.#ask = ask;
  }

  /** `undefined` when there is nobody to ask, so that nothing waits. */
  check(credential: NewCredential): Promise<void> | undefined {
    return this.#ask?.(credential);
  }
}
