import { LateAnswerError, withTimeout } from "./timeout.js";
import { StoreUnavailableError, storeUnavailable } from "./store-unavailable.js";
import { GuardedWrite } from "./guarded-write.js";
import { announceLate, announceOverload } from "./call-events.js";
import { CircuitBreaker, type Permit } from "./circuit-breaker.js";
import { Outage } from "./outage.js";
import { hasWaited, nameOf, noteWait, type StoreCaller } from "../../core/store-caller.js";
import type { Runtime } from "../../core/runtime.js";
import { faultOf } from "./store-fault.js";
import { healthOf, defaultBackend, type BackendHealth, backendOf } from "./backend.js";
import type { StoreTime } from "./store-time.js";
import type { WriteCall } from "./write-call.js";

export { callWithoutCircuit, StoreUnavailableError } from "./store-unavailable.js";

/** Database clients have their own promise types; any value with `then` counts as a promise. */
function isThenable<T>(answer: T | PromiseLike<T>): answer is PromiseLike<T> {
  return typeof answer === "object" && answer !== null && "then" in answer && typeof answer.then === "function";
}

/** One call that was allowed through to the store. */
interface Admission {
  readonly availability: Permit;
  /** `undefined` while the store is known to fail: the call is made, and its result changes nothing. */
  readonly errors: Permit | undefined;
  readonly writes: Permit | undefined;
  /** Number of calls that the server had answered when this one began. */
  readonly successes: number;
  /** How long the store has to answer, in milliseconds. */
  readonly ms: number;
  /**
   * Whether that is the whole time-out. No answer in the time that remains after an earlier call does not indicate an
   * outage.
   */
  readonly hasWholeTime: boolean;
  /** Whether the answer may come from a reading that began before this call. */
  readonly isShared: boolean;
  readonly caller: StoreCaller | undefined;
  /** The write, when the call is one. */
  readonly write?: GuardedWrite;
}

/**
 * Protects a store: limits the time of every call, announces once that the store fails and once that it has recovered,
 * and fails at once while its server does not answer, instead of making each request wait (a circuit breaker with one
 * probe at a time).
 *
 * The circuit belongs to the server and is shared by all stores on it. It opens when the server is unreachable, or was
 * late several times with no answer to any caller in between. No other error opens it, since a server that answers can
 * be called: a server that rejects writes is announced by its own name, any other error by the name of this store. An
 * error of one call alone (a value that the store cannot keep, a record that it cannot read) is not an outage.
 */
export class StoreGuard {
  readonly #store: string;
  readonly #runtime: Runtime;
  readonly #timeoutMs: number;
  readonly #server: BackendHealth;
  readonly #errors: CircuitBreaker;
  /**
   * Whether the store has a remote backend. A synchronous answer then came from this process's memory, and proves
   * nothing about the server.
   */
  readonly #hasRemoteBackend: boolean;

  /**
   * @param timeoutMs how long one call may take, in milliseconds
   * @param on the guarded store; its guards share the health of the server on which it was registered
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
   * Calls the store. Returns a synchronous answer as it is, without a promise.
   *
   * @param time the time that this call shares with other calls; without it the call has the whole time-out
   * @param caller the request for which the call is made, which waits only once for a server that does not answer, or
   *   the one whose data it is about (`callerFor`). While a server is late, each has its own calls
   * @throws StoreUnavailableError (or rejects with it) when the store fails, is late, or is down
   */
  run<T>(operation: () => T | Promise<T>, time?: StoreTime, caller?: StoreCaller): T | Promise<T> {
    return this.#call(operation, this.#tryAcquire(time, caller));
  }

  /**
   * Like `run`, for an answer from a reading that many callers share and that reports to the circuit of the server by
   * itself. The reading may have begun long before this call, so its result is not a result of this call: the server
   * may have taken longer than any call may. Only the wait counts, when it was in vain.
   *
   * @throws StoreUnavailableError (or rejects with it) as `run`
   */
  join<T>(operation: () => T | Promise<T>, caller?: StoreCaller): T | Promise<T> {
    const admission = this.#tryAcquire(undefined, caller);
    return this.#call(operation, admission && { ...admission, isShared: true });
  }

  #call<T>(operation: () => T | Promise<T>, admission: Admission | undefined): T | Promise<T> {
    if (admission === undefined) throw new StoreUnavailableError(this.#store);
    let answer: T | Promise<T>;
    try {
      answer = operation();
    } catch (error) {
      this.#failed(error, admission);
      throw storeUnavailable(this.#store, error);
    }
    if (isThenable(answer)) return this.#withinTime(answer, admission);
    if (this.#hasRemoteBackend) this.#release(admission);
    else this.#succeeded(admission);
    return answer;
  }

  /**
   * Makes a write that must not take effect after its caller got a failure. Past the time-out the store rolls back
   * (`WriteCall`); once the store is committing, the caller waits for the outcome, up to five seconds.
   *
   * @param onUndelivered called when the caller got a failure and the store may have done the write all the same: with the
   *   late result of a store that does not support deadlines, and with `undefined` when a commit is in doubt. It may be
   *   called twice.
   * @param time as for `run`
   * @param caller as for `run`
   * @throws StoreUnavailableError (rejects) when the store fails, is late, or is down
   */
  async write<T>(
    operation: (call: WriteCall) => T | Promise<T>,
    onUndelivered?: (value: T | undefined) => void,
    time?: StoreTime,
    caller?: StoreCaller,
  ): Promise<T> {
    const admission = this.#tryAcquire(time, caller);
    if (admission === undefined) throw new StoreUnavailableError(this.#store);
    const write = new GuardedWrite(time?.deadline ?? performance.now() + this.#timeoutMs);
    // A synchronous throw becomes a rejection.
    return this.#withinTime((async () => operation(write))(), { ...admission, write }, onUndelivered);
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
      isShared: false,
      caller,
    };
  }

  async #withinTime<T>(
    answer: PromiseLike<T>,
    admission: Admission,
    onUndelivered?: (value: T | undefined) => void,
  ): Promise<T> {
    try {
      const value = await withTimeout(answer, admission.ms, {
        onTimeout: () => admission.write?.timeIsOver() ?? new LateAnswerError(admission.ms),
        // A late answer does not count as recovery: a store that is always late would "recover" between any two requests.
        ...(onUndelivered && { onLate: onUndelivered }),
      });
      this.#succeeded(admission);
      return value;
    } catch (error) {
      this.#failed(error, admission);
      if (admission.write?.isInDoubt === true) onUndelivered?.(undefined);
      throw storeUnavailable(this.#store, error);
    }
  }

  #succeeded(admission: Admission): void {
    this.#answered(admission);
    if (admission.errors !== undefined) this.#errors.succeeded(admission.errors);
  }

  /**
   * The server has answered this call, with a result or with an error. The outcome of a commit for which the caller
   * waited past the time-out does not show that the server answers in time.
   */
  #answered({ availability, isShared, write }: Admission): void {
    if (isShared || write?.isOverdue === true) this.#server.availability.release(availability);
    else this.#server.availability.succeeded(availability);
  }

  #release({ availability, errors }: Admission): void {
    this.#server.availability.release(availability);
    this.#releaseErrors(errors);
  }

  #releaseErrors(errors: Permit | undefined): void {
    if (errors !== undefined) this.#errors.release(errors);
  }

  #failed(error: unknown, admission: Admission): void {
    const { availability, errors, writes, successes, hasWholeTime, isShared, caller } = admission;
    // Another guard within the operation has handled this failure: it belongs to that guard's store.
    if (error instanceof StoreUnavailableError) return this.#release(admission);
    switch (faultOf(error)) {
      case "unreachable":
        if (isShared) this.#server.availability.release(availability);
        else this.#server.availability.failed(availability, error);
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
        this.#answered(admission);
        return this.#releaseErrors(errors);
      case "share":
      case "input":
      case "record":
        this.#answered(admission);
        return this.#releaseErrors(errors);
      case "other": {
        const isDeclined = this.#server.isRejectedWrite(error, writes);
        // An error is an answer. This line follows the one above, so that a server that turns from silent to read-only
        // is one outage.
        this.#answered(admission);
        if (isDeclined) this.#releaseErrors(errors);
        else if (errors !== undefined) this.#errors.failed(errors, error);
      }
    }
  }
}
