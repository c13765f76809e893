import { PortcullisError } from "../../core/portcullis-error.js";

/** A store did not complete an operation: it failed, took too long, or is known to be down. */
export class StoreUnavailableError extends PortcullisError {
  readonly code = "PORTCULLIS_STORE_UNAVAILABLE";
  /** The status with which Express's own error handler responds when the app passes this on. */
  readonly status = 503;

  constructor(store: string, options?: ErrorOptions) {
    super(`The ${store} store did not respond.`, options);
    this.name = "StoreUnavailableError";
  }
}

/** A call got no answer within its time. */
export class LateAnswerError extends PortcullisError {
  readonly code = "ETIMEDOUT";

  /** @param ms the time limit of the call, in milliseconds */
  constructor(ms: number) {
    super(`no response within ${ms} ms`);
    this.name = "LateAnswerError";
  }
}

/** Calls `giveUp` after that many milliseconds, unless the timer is cleared first. */
export function startTimeout(ms: number, giveUp: (cause: Error) => void): NodeJS.Timeout {
  const late = (): void => giveUp(new LateAnswerError(ms));
  // If this process was busy for that long, the answer may be unread in the socket. Node runs timers before it reads
  // sockets, and `setImmediate` after, so a busy process does not attribute its own delay to the store.
  return setTimeout(() => setImmediate(late), ms);
}

/**
 * Rejects with `LateAnswerError` after `ms` milliseconds. Ignores a later result, and leaves no rejection unhandled.
 */
export function within<T>(answer: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = startTimeout(ms, reject);
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/**
 * Calls several stores one after the other with one common time limit and without a circuit, because no single store
 * can be blamed.
 *
 * @throws StoreUnavailableError (rejects) when one fails, or they are late
 */
export function withTimeout<T>(store: string, timeoutMs: number, operation: () => Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const fail = (cause: unknown): void =>
      reject(cause instanceof StoreUnavailableError ? cause : new StoreUnavailableError(store, { cause }));
    const timer = startTimeout(timeoutMs, fail);
    Promise.resolve()
      .then(operation)
      .then(resolve, fail)
      .finally(() => clearTimeout(timer));
  });
}
