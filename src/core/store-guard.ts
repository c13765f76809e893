import { StoreUnavailableError, timeOut } from "./bounded-call.js";
import { Circuit, type Pass } from "./circuit.js";
import { Outage } from "./outage.js";
import type { Runtime } from "./runtime.js";
import { healthOf, ownServer, type ServerHealth, serverOf } from "./store-server.js";
import { isUnreachable } from "./unreachable.js";

export { boundedCall, StoreUnavailableError } from "./bounded-call.js";

/** Clients of databases bring promises of their own; what has `then` is one. */
function isThenable<T>(answer: T | PromiseLike<T>): answer is PromiseLike<T> {
  return typeof answer === "object" && answer !== null && "then" in answer && typeof answer.then === "function";
}

/** Leave to make one call. */
interface Leave {
  readonly silence: Pass;
  readonly errors: Pass;
  readonly writes: Pass | undefined;
}

/**
 * Stands before a store: bounds every call in time, says once when the store goes down and once when it is back, and
 * while it is down fails at once instead of letting each request wait (a circuit breaker with one probe at a time).
 *
 * Three things can be wrong. Silence (no answer in time, no connection) is the server's: the stores placed there share its
 * circuit. A server that declines to write (read-only, out of memory) is announced once, by its name, and still asked: reads
 * work. Any other error is this store's alone, which is then not called, and announced by the store's name.
 */
export class StoreGuard {
  readonly #store: string;
  readonly #timeoutMs: number;
  readonly #server: ServerHealth;
  readonly #errors: Circuit;
  /** Whether an answer without a promise came from this process' memory, and proves nothing about the server. */
  readonly #isElsewhere: boolean;

  /**
   * @param timeoutMs how long one call may take, in milliseconds
   * @param on the store that is guarded; its guards share what is known of the server it was placed on
   */
  constructor(store: string, runtime: Runtime, timeoutMs: number, on: object = {}) {
    this.#store = store;
    this.#timeoutMs = timeoutMs;
    const server = serverOf(on, store);
    this.#isElsewhere = server !== undefined;
    this.#server = healthOf(server ?? ownServer(on, { name: store }), runtime);
    const { outage } = this.#server;
    this.#errors = new Circuit(outage.source === store ? outage : new Outage(store, runtime), runtime.clock);
  }

  get isDown(): boolean {
    return this.#errors.isDown || this.#server.silence.isDown;
  }

  /**
   * Calls the store. A synchronous answer comes back as it is, without a promise.
   *
   * @throws StoreUnavailableError (or rejects with it) when the store fails, is late, or is down
   */
  run<T>(operation: () => T | Promise<T>): T | Promise<T> {
    const leave = this.#admit();
    if (leave === undefined) throw new StoreUnavailableError(this.#store);
    let answer: T | Promise<T>;
    try {
      answer = operation();
    } catch (error) {
      this.#failed(error, leave);
      throw new StoreUnavailableError(this.#store, { cause: error });
    }
    if (isThenable(answer)) return this.#withinTime(Promise.resolve(answer), leave);
    if (this.#isElsewhere) this.#returned(leave);
    else this.#worked(leave);
    return answer;
  }

  #admit(): Leave | undefined {
    const silence = this.#server.silence.admit();
    if (silence === undefined) return undefined;
    const errors = this.#errors.admit();
    if (errors !== undefined) return { silence, errors, writes: this.#server.watchWrites(this.#timeoutMs) };
    this.#server.silence.returned(silence);
    return undefined;
  }

  #withinTime<T>(answer: Promise<T>, leave: Leave): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let isSettled = false;
      const timer = timeOut(this.#timeoutMs, (cause) => {
        if (isSettled) return;
        isSettled = true;
        this.#failed(cause, leave);
        reject(new StoreUnavailableError(this.#store, { cause }));
      });
      // An answer that comes after the time is up still settles `answer`, so nothing is left unhandled; it is not used,
      // nor is it a sign that the store is back: one that is always late would be "back" between any two requests.
      answer.then(
        (value) => {
          if (isSettled) return;
          isSettled = true;
          clearTimeout(timer);
          this.#worked(leave);
          resolve(value);
        },
        (error: unknown) => {
          if (isSettled) return;
          isSettled = true;
          clearTimeout(timer);
          this.#failed(error, leave);
          reject(error instanceof StoreUnavailableError ? error : new StoreUnavailableError(this.#store, { cause: error }));
        },
      );
    });
  }

  #worked({ silence, errors }: Leave): void {
    this.#server.silence.worked(silence);
    this.#errors.worked(errors);
  }

  #returned({ silence, errors }: Leave): void {
    this.#server.silence.returned(silence);
    this.#errors.returned(errors);
  }

  #failed(error: unknown, leave: Leave): void {
    // Another guard within the operation has seen to it: what failed is what that one stands before.
    if (error instanceof StoreUnavailableError) this.#returned(leave);
    else if (isUnreachable(error)) {
      this.#server.silence.failed(leave.silence, error);
      this.#errors.returned(leave.errors);
    } else {
      const isDeclined = this.#server.hasDeclined(error, leave.writes);
      // An error is an answer. After the line above: from silent to read-only is one outage.
      this.#server.silence.worked(leave.silence);
      if (isDeclined) this.#errors.returned(leave.errors);
      else this.#errors.failed(leave.errors, error);
    }
  }
}
