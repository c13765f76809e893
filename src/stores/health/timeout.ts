import { PortcullisError } from "../../core/portcullis-error.js";

/** A store did not do what it was asked: it failed, took too long, or is known to be down. */
export class StoreUnavailableError extends PortcullisError {
  readonly code = "PORTCULLIS_STORE_UNAVAILABLE";
  /** What Express's own error handler answers when the app passes this on. */
  readonly status = 503;

  constructor(store: string, options?: ErrorOptions) {
    super(`The ${store} store did not answer.`, options);
    this.name = "StoreUnavailableError";
  }
}

/** A call got no answer within its time. */
export class LateAnswerError extends PortcullisError {
  readonly code = "ETIMEDOUT";

  /** @param ms the time it had, in milliseconds */
  constructor(ms: number) {
    super(`no answer within ${ms} ms`);
    this.name = "LateAnswerError";
  }
}

/** Calls `giveUp` after that many milliseconds, unless the timer is cleared first. */
export function startTimeout(ms: number, giveUp: (cause: Error) => void): NodeJS.Timeout {
  const late = (): void => giveUp(new LateAnswerError(ms));
  // When this process was busy for that long, the answer may lie in the socket unread: Node runs timers before it reads
  // sockets, and `setImmediate` after, so a busy process does not take its own delay for the store's.
  return setTimeout(() => setImmediate(late), ms);
}

/** Rejects with `LateAnswerError` after `ms` milliseconds. What the promise gives later is dropped, and nothing is left unhandled. */
export function within<T>(answer: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = startTimeout(ms, reject);
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/**
 * Calls several stores one after the other, bounded in time as one, without a circuit: none of them can be blamed.
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
