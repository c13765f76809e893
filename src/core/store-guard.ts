import type { Runtime } from "./runtime.js";

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

/** How long a store that failed is left alone before one call tries it again. */
const PROBE_AFTER_MS = 500;

/**
 * Stands before a store: bounds every call in time, says once when the store goes down and once when it is back, and
 * while it is down fails at once instead of letting each request wait (a circuit breaker with one probe at a time).
 */
export class StoreGuard {
  readonly #store: string;
  readonly #runtime: Runtime;
  readonly #timeoutMs: number;
  #downSince: number | undefined;
  #probing = false;
  #lastProbe = 0;

  /** @param timeoutMs how long one call may take, in milliseconds */
  constructor(store: string, runtime: Runtime, timeoutMs: number) {
    this.#store = store;
    this.#runtime = runtime;
    this.#timeoutMs = timeoutMs;
  }

  get isDown(): boolean {
    return this.#downSince !== undefined;
  }

  /**
   * Calls the store. A synchronous answer comes back as it is, without a promise.
   *
   * @throws StoreUnavailableError (or rejects with it) when the store fails, is late, or is down
   */
  run<T>(operation: () => T | Promise<T>): T | Promise<T> {
    const probe = this.isDown;
    if (probe && !this.#mayProbe()) throw new StoreUnavailableError(this.#store);
    let answer: T | Promise<T>;
    try {
      answer = operation();
    } catch (error) {
      this.#failed(error, probe);
      throw new StoreUnavailableError(this.#store, { cause: error });
    }
    if (isThenable(answer)) return this.#withinTime(Promise.resolve(answer), probe);
    this.#worked(probe);
    return answer;
  }

  #withinTime<T>(answer: Promise<T>, probe: boolean): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let isLate = false;
      const timer = setTimeout(() => {
        isLate = true;
        const late = new Error(`no answer within ${this.#timeoutMs} ms`);
        this.#failed(late, probe);
        reject(new StoreUnavailableError(this.#store, { cause: late }));
      }, this.#timeoutMs);
      // An answer that comes after the time is up still settles `answer`, so nothing is left unhandled; it is not used,
      // nor is it a sign that the store is back: one that is always late would be "back" between any two requests.
      answer.then(
        (value) => {
          if (isLate) return;
          clearTimeout(timer);
          this.#worked(probe);
          resolve(value);
        },
        (error: unknown) => {
          if (isLate) return;
          clearTimeout(timer);
          this.#failed(error, probe);
          reject(new StoreUnavailableError(this.#store, { cause: error }));
        },
      );
    });
  }

  #mayProbe(): boolean {
    const now = this.#runtime.clock.monotonic();
    if (this.#probing || now - this.#lastProbe < PROBE_AFTER_MS) return false;
    this.#probing = true;
    this.#lastProbe = now;
    return true;
  }

  #worked(probe: boolean): void {
    if (!probe) return;
    this.#probing = false;
    if (this.#downSince === undefined) return;
    this.#downSince = undefined;
    this.#runtime.events.emit("portcullis_store_recovered", () => ({ source: this.#store, reason: "answered" }));
  }

  #failed(error: unknown, probe: boolean): void {
    if (probe) this.#probing = false;
    if (this.#downSince !== undefined) return;
    this.#downSince = this.#runtime.clock.monotonic();
    this.#lastProbe = this.#downSince;
    this.#runtime.events.emit("portcullis_store_unavailable", () => ({
      source: this.#store,
      reason: error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "failed",
    }));
  }
}
