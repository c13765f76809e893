import { LateAnswerError, StoreUnavailableError, startTimeout } from "./timeout.js";
import { announceLate, announceOverload } from "./call-events.js";
import { CircuitBreaker, type Permit } from "./circuit-breaker.js";
import { Outage } from "./outage.js";
import { hasWaited, nameOf, noteWait, type StoreCaller } from "../../core/store-caller.js";
import type { Runtime } from "../../core/runtime.js";
import { faultOf } from "./store-fault.js";
import { healthOf, defaultBackend, type BackendHealth, backendOf } from "./backend.js";
import type { StoreTime } from "./store-time.js";
import type { WriteCall } from "./write-call.js";

export { withTimeout, StoreUnavailableError } from "./timeout.js";

/** How long a caller waits for the outcome of a commit that is on its way, in milliseconds, beyond the time-out. */
const COMMIT_MS = 5000;

/** Clients of databases bring promises of their own; what has `then` is one. */
function isThenable<T>(answer: T | PromiseLike<T>): answer is PromiseLike<T> {
  return typeof answer === "object" && answer !== null && "then" in answer && typeof answer.then === "function";
}

/** One call that was let through to the store. */
interface Admission {
  readonly availability: Permit;
  /** `undefined` while the store is known to fail: the call is made, and its result changes nothing. */
  readonly errors: Permit | undefined;
  readonly writes: Permit | undefined;
  /** How many calls the server had answered when this one began. */
  readonly successes: number;
  /** How long the store has to answer, in milliseconds. */
  readonly ms: number;
  /** Whether that is the whole time-out. The lack of an answer in what an earlier call has left over is no sign of an outage. */
  readonly hasWholeTime: boolean;
  readonly caller: StoreCaller | undefined;
}

/** One write, as the store sees it and as the guard waits for it. */
class GuardedWrite implements WriteCall {
  readonly deadline: number;
  #state: "open" | "committing" | "given-up" = "open";

  constructor(deadline: number) {
    this.deadline = deadline;
  }

  get isCommitting(): boolean {
    return this.#state === "committing";
  }

  beginCommit(): boolean {
    this.#state = this.#state === "given-up" || performance.now() >= this.deadline ? "given-up" : "committing";
    return this.#state === "committing";
  }

  commitEnded(): void {
    if (this.#state === "committing") this.#state = "open";
  }

  giveUp(): void {
    this.#state = "given-up";
  }
}

/**
 * Stands before a store: bounds every call in time, announces once that the store fails and once that it is back, and fails
 * at once while its server gives no answers, instead of letting each request wait (a circuit breaker with one probe at a
 * time).
 *
 * The circuit is the server's, shared by all stores on it. It opens when the server cannot be reached, or was late several
 * times with no answer to anybody in between. No other error opens it, since a server that answers can be asked: one that
 * declines to write is announced by its name, any other error by the name of this store. What one call brought (a value the
 * store cannot keep, a record it cannot read) is no outage at all.
 */
export class StoreGuard {
  readonly #store: string;
  readonly #runtime: Runtime;
  readonly #timeoutMs: number;
  readonly #server: BackendHealth;
  readonly #errors: CircuitBreaker;
  /** Whether an answer without a promise came from this process' memory, and proves nothing about the server. */
  readonly #hasRemoteBackend: boolean;

  /**
   * @param timeoutMs how long one call may take, in milliseconds
   * @param on the store that is guarded; its guards share what is known of the server it was placed on
   */
  constructor(store: string, runtime: Runtime, timeoutMs: number, on: object = {}) {
    this.#store = store;
    this.#runtime = runtime;
    this.#timeoutMs = timeoutMs;
    const server = backendOf(on, store);
    this.#hasRemoteBackend = server !== undefined;
    this.#server = healthOf(server ?? defaultBackend(on, { name: store }), runtime);
    const { outage } = this.#server;
    this.#errors = new CircuitBreaker(outage.source === store ? outage : new Outage(store, runtime), runtime.clock);
  }

  get isDown(): boolean {
    return this.#errors.isDown || this.#server.availability.isDown;
  }

  /**
   * Calls the store. A synchronous answer comes back as it is, without a promise.
   *
   * @param time what the call shares with other calls; the time-out is its own when absent
   * @param caller the request it is for, which waits for a silent server once
   * @throws StoreUnavailableError (or rejects with it) when the store fails, is late, or is down
   */
  run<T>(operation: () => T | Promise<T>, time?: StoreTime, caller?: StoreCaller): T | Promise<T> {
    const admission = this.#tryAcquire(time, caller);
    if (admission === undefined) throw new StoreUnavailableError(this.#store);
    let answer: T | Promise<T>;
    try {
      answer = operation();
    } catch (error) {
      this.#failed(error, admission);
      throw new StoreUnavailableError(this.#store, { cause: error });
    }
    if (isThenable(answer)) return this.#withinTime(Promise.resolve(answer), admission);
    if (this.#hasRemoteBackend) this.#release(admission);
    else this.#succeeded(admission);
    return answer;
  }

  /**
   * Calls the store to write something that must not be done after its caller was refused. Past the time-out the store rolls
   * back (`WriteCall`); once it is committing, the caller waits for the outcome, up to five seconds.
   *
   * @param notTold called when the caller was refused and the store may have done it all the same: with what a store that knows
   *   no deadlines did later, and with `undefined` when a commit is in doubt. It may be called twice.
   * @param time as of `run`
   * @throws StoreUnavailableError (rejects) when the store fails, is late, or is down
   */
  async write<T>(
    operation: (call: WriteCall) => T | Promise<T>,
    notTold: (value: T | undefined) => void = () => undefined,
    time?: StoreTime,
  ): Promise<T> {
    const admission = this.#tryAcquire(time);
    if (admission === undefined) throw new StoreUnavailableError(this.#store);
    const call = new GuardedWrite(time?.deadline ?? performance.now() + this.#timeoutMs);
    // A synchronous throw becomes a rejection.
    return this.#withinTime((async () => operation(call))(), admission, call, notTold);
  }

  #tryAcquire(time: StoreTime | undefined, caller?: StoreCaller): Admission | undefined {
    if (time?.isOver === true) {
      announceLate(this.#runtime, this.#store);
      throw new StoreUnavailableError(this.#store, { cause: new LateAnswerError(this.#timeoutMs) });
    }
    const { availability } = this.#server;
    if (caller?.waits !== undefined && hasWaited(caller, availability, this.#runtime.clock.monotonic()))
      return undefined;
    const permit = availability.tryAcquire(caller && nameOf(caller));
    if (permit === undefined) return undefined;
    const left = time?.begin();
    return {
      availability: permit,
      errors: this.#errors.tryAcquire(),
      writes: this.#server.beforeCall(this.#timeoutMs),
      successes: availability.successes,
      ms: left?.ms ?? this.#timeoutMs,
      hasWholeTime: left?.isWhole ?? true,
      caller,
    };
  }

  #withinTime<T>(
    answer: Promise<T>,
    admission: Admission,
    call?: GuardedWrite,
    notTold: (value: T | undefined) => void = () => undefined,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let isSettled = false;
      const giveUp = (cause: Error): void => {
        if (isSettled) return;
        isSettled = true;
        const isInDoubt = call?.isCommitting === true;
        call?.giveUp();
        this.#failed(cause, admission);
        if (isInDoubt) notTold(undefined);
        reject(new StoreUnavailableError(this.#store, { cause }));
      };
      let timer = startTimeout(admission.ms, (cause) => {
        if (!isSettled && call?.isCommitting === true) timer = startTimeout(COMMIT_MS, giveUp);
        else giveUp(cause);
      });
      // An answer that comes after the time is up still settles `answer`, so nothing is left unhandled; it is not used,
      // nor is it a sign that the store is back: one that is always late would be "back" between any two requests.
      answer.then(
        (value) => {
          if (isSettled) return notTold(value);
          isSettled = true;
          clearTimeout(timer);
          this.#succeeded(admission);
          resolve(value);
        },
        (error: unknown) => {
          if (isSettled) return;
          isSettled = true;
          clearTimeout(timer);
          this.#failed(error, admission);
          if (call?.isCommitting === true) notTold(undefined);
          reject(
            error instanceof StoreUnavailableError ? error : new StoreUnavailableError(this.#store, { cause: error }),
          );
        },
      );
    });
  }

  #succeeded({ availability, errors }: Admission): void {
    this.#server.availability.succeeded(availability);
    if (errors !== undefined) this.#errors.succeeded(errors);
  }

  #release({ availability, errors }: Admission): void {
    this.#server.availability.release(availability);
    this.#releaseErrors(errors);
  }

  #releaseErrors(errors: Permit | undefined): void {
    if (errors !== undefined) this.#errors.release(errors);
  }

  #failed(error: unknown, admission: Admission): void {
    const { availability, errors, writes, successes, hasWholeTime, caller } = admission;
    // Another guard within the operation has seen to it: what failed is what that one stands before.
    if (error instanceof StoreUnavailableError) return this.#release(admission);
    switch (faultOf(error)) {
      case "unreachable":
        this.#server.availability.failed(availability, error);
        return this.#releaseErrors(errors);
      case "late":
        if (caller !== undefined) noteWait(caller, this.#server.availability, this.#runtime.clock.monotonic());
        if (hasWholeTime) this.#server.availability.timedOut(availability, successes, error, caller && nameOf(caller));
        else this.#server.availability.release(availability);
        if (!this.#server.availability.isDown) announceLate(this.#runtime, this.#store);
        return this.#releaseErrors(errors);
      case "overload":
        announceOverload(this.#runtime, this.#store, "connections");
        return this.#release(admission);
      case "full":
        announceOverload(this.#runtime, this.#store, "store");
        this.#server.availability.succeeded(availability);
        return this.#releaseErrors(errors);
      case "share":
      case "input":
      case "record":
        this.#server.availability.succeeded(availability);
        return this.#releaseErrors(errors);
      case "other": {
        const isDeclined = this.#server.isRejectedWrite(error, writes);
        // An error is an answer. After the line above: from silent to read-only is one outage.
        this.#server.availability.succeeded(availability);
        if (isDeclined) this.#releaseErrors(errors);
        else if (errors !== undefined) this.#errors.failed(errors, error);
      }
    }
  }
}
