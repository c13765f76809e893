/** The same in every copy of the library that a process loads, ESM or CommonJS. */
const MARK = Symbol.for("portcullis.error");

/**
 * Base of every error that this library throws. `code` identifies the error. `instanceof PortcullisError` also holds
 * for an error that another copy of the library has thrown.
 *
 * @example
 * ```ts
 * import { PortcullisError, settingsFromEnv } from "portcullis";
 *
 * try {
 *   settingsFromEnv();
 * } catch (error) {
 *   if (error instanceof PortcullisError) process.stderr.write(`${error.code}: ${error.message}\n`);
 *   else throw error;
 * }
 * ```
 */
export abstract class PortcullisError extends Error {
  /** Which error it is: text that stays the same from release to release. */
  abstract readonly code: string;

  static {
    Object.defineProperty(this.prototype, MARK, { value: true });
    Object.defineProperty(this, Symbol.hasInstance, {
      // Derived classes inherit this method, and are recognised by their prototype as usual.
      value(this: unknown, error: unknown): boolean {
        if (this !== PortcullisError) return Function.prototype[Symbol.hasInstance].call(this, error);
        return typeof error === "object" && error !== null && MARK in error;
      },
    });
  }
}

/**
 * A value passed to a function of the library is malformed, as in `logIn(req, { id: "" })`. Functions of
 * `ApiKeyService` and `JwtManager` throw `ApiKeyError` and `TokenError` with the same code instead.
 */
export class InvalidInputError extends PortcullisError {
  readonly code = "invalid-input";
  /** Express's own error handler answers with it when the app passes the error on. */
  readonly status = 400;

  /** @param message what is wrong, without the value */
  constructor(message: string) {
    super(message);
    this.name = "InvalidInputError";
  }
}

/**
 * A store could be reached, but did not perform an operation: it already contains a record with this id, is closed,
 * or returned an answer that its contract does not define.
 */
export class StoreError extends PortcullisError {
  readonly code = "PORTCULLIS_STORE";

  constructor(message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = "StoreError";
  }
}
