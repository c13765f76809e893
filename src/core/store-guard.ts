import { Circuit, type Pass } from "./circuit.js";
import type { Runtime } from "./runtime.js";
import { circuitOf, serverOf } from "./store-server.js";
import { isUnreachable } from "./unreachable.js";

/** A store did not do what it was asked: it failed, took too long, or is known to be down. */
export class StoreUnavailableError extends Error {
  readonly code = "PORTCULLIS_STORE_UNAVAILABLE";
  /** What Express's own error handler answers when the app passes this on. */
  readonly status = 503;

  constructor(store: string, options?: ErrorOptions) {
    super(`The ${store} store did not answer.`, options);
    this.name = "StoreUnavailableError";
  }
}

/** Clients of databases bring promises of their own; what has `then` is one. */
function isThenable<T>(answer: T | PromiseLike<T>): answer is PromiseLike<T> {
  return typeof answer === "object" && answer !== null && "then" in answer && typeof answer.then === "function";
}

/**
 * Calls several stores at once, bounded in time, without a circuit: none of them can be blamed.
 *
 * @throws StoreUnavailableError (rejects) when one fails or is late
 */
export function boundedCall<T>(store: string, timeoutMs: number, operation: () => Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const fail = (cause: unknown): void => reject(cause instanceof StoreUnavailableError ? cause : new StoreUnavailableError(store, { cause }));
    const timer = setTimeout(() => setImmediate(fail, late(timeoutMs)), timeoutMs);
    Promise.resolve()
      .then(operation)
      .then(resolve, fail)
      .finally(() => clearTimeout(timer));
  });
}

function late(timeoutMs: number): Error {
  return Object.assign(new Error(`no answer within ${timeoutMs} ms`), { code: "ETIMEDOUT" });
}

/**
 * Stands before a store: bounds every call in time, says once when the store goes down and once when it is back, and
 * while it is down fails at once instead of letting each request wait (a circuit breaker with one probe at a time).
 *
 * Two things can be wrong. Silence (no answer in time, no connection) is the server's: a store placed on a server shares
 * that circuit with the other stores there. An answer that is an error (out of memory, read-only) is this store's alone.
 */
export class StoreGuard {
  readonly #store: string;
  readonly #timeoutMs: number;
  readonly #refusals: Circuit;
  readonly #silence: Circuit;

  /**
   * @param timeoutMs how long one call may take, in milliseconds
   * @param on the store that is guarded; with it the guard shares the circuit of the server the store was placed on
   */
  constructor(store: string, runtime: Runtime, timeoutMs: number, on?: object) {
    this.#store = store;
    this.#timeoutMs = timeoutMs;
    this.#refusals = new Circuit(store, runtime);
    const server = serverOf(on, store);
    this.#silence = server === undefined ? this.#refusals : circuitOf(server, runtime);
  }

  get isDown(): boolean {
    return this.#refusals.isDown || this.#silence.isDown;
  }

  /**
   * Calls the store. A synchronous answer comes back as it is, without a promise.
   *
   * @throws StoreUnavailableError (or rejects with it) when the store fails, is late, or is down
   */
  run<T>(operation: () => T | Promise<T>): T | Promise<T> {
    const silence = this.#silence.admit();
    if (silence === undefined) throw new StoreUnavailableError(this.#store);
    const refusals = this.#silence === this.#refusals ? silence : this.#refusals.admit();
    if (refusals === undefined) {
      this.#silence.returned(silence);
      throw new StoreUnavailableError(this.#store);
    }
    let answer: T | Promise<T>;
    try {
      answer = operation();
    } catch (error) {
      this.#failed(error, silence, refusals);
      throw new StoreUnavailableError(this.#store, { cause: error });
    }
    if (isThenable(answer)) return this.#withinTime(Promise.resolve(answer), silence, refusals);
    // An answer without a promise came from this process and proves nothing about a server.
    if (this.#silence === this.#refusals) this.#refusals.worked(refusals);
    else this.#returned(silence, refusals);
    return answer;
  }

  #withinTime<T>(answer: Promise<T>, silence: Pass, refusals: Pass): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let isSettled = false;
      const giveUp = (): void => {
        if (isSettled) return;
        isSettled = true;
        const cause = late(this.#timeoutMs);
        this.#failed(cause, silence, refusals);
        reject(new StoreUnavailableError(this.#store, { cause }));
      };
      // When this process was busy for that long, the answer may lie in the socket unread: Node runs timers before it reads
      // sockets, and `setImmediate` after, so a busy process does not take its own delay for the store's.
      const timer = setTimeout(() => setImmediate(giveUp), this.#timeoutMs);
      // An answer that comes after the time is up still settles `answer`, so nothing is left unhandled; it is not used,
      // nor is it a sign that the store is back: one that is always late would be "back" between any two requests.
      answer.then(
        (value) => {
          if (isSettled) return;
          isSettled = true;
          clearTimeout(timer);
          this.#worked(silence, refusals);
          resolve(value);
        },
        (error: unknown) => {
          if (isSettled) return;
          isSettled = true;
          clearTimeout(timer);
          this.#failed(error, silence, refusals);
          reject(error instanceof StoreUnavailableError ? error : new StoreUnavailableError(this.#store, { cause: error }));
        },
      );
    });
  }

  #worked(silence: Pass, refusals: Pass): void {
    this.#silence.worked(silence);
    if (this.#refusals !== this.#silence) this.#refusals.worked(refusals);
  }

  #returned(silence: Pass, refusals: Pass): void {
    this.#silence.returned(silence);
    if (this.#refusals !== this.#silence) this.#refusals.returned(refusals);
  }

  #failed(error: unknown, silence: Pass, refusals: Pass): void {
    // Another guard within the operation has seen to it: what failed is what that one stands before.
    if (error instanceof StoreUnavailableError) this.#returned(silence, refusals);
    else if (this.#refusals === this.#silence) this.#refusals.failed(refusals, error);
    else if (isUnreachable(error)) {
      this.#silence.failed(silence, error);
      this.#refusals.returned(refusals);
    } else {
      this.#silence.worked(silence);
      this.#refusals.failed(refusals, error);
    }
  }
}
