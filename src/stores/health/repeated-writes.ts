import type { Runtime } from "../../core/runtime.js";
import { announceOverload } from "./call-events.js";
import { withTimeout } from "./timeout.js";

/** Maximum number of waiting writes. Beyond it the oldest is given up and announced; its caller has already got the failure. */
const MOST = 10_000;
/** Pause before a write is repeated, in milliseconds, by the number of failed repetitions; the last value repeats. */
const PAUSES_MS = [500, 1000, 2000, 4000, 8000, 16_000, 30_000];
/** How long the queue waits for one write, in milliseconds, before the next takes its place. */
const WRITE_MS = 10_000;
/**
 * How long a new operation waits for an earlier call, in milliseconds: most calls that finish late are finished by
 * then.
 */
const EARLIER_CALL_MS = 50;
/** Maximum number of concurrent writes, so that a few that hang do not delay the others. */
const AT_ONCE = 16;
/** How many of them may be writes that have failed before: writes that always fail leave room for new ones. */
const FAILED_AT_ONCE = 8;

interface Waiting {
  readonly name: string;
  readonly write: () => Promise<unknown>;
  /** The latest call, while it is in progress. */
  underWay: Promise<unknown> | undefined;
  /** The repetition for which new operations wait together. */
  awaited: Promise<void> | undefined;
  /** Number of failed repetitions, up to the last index of the pauses. */
  failures: number;
  /** When it is repeated, on the clock of `performance.now()`. */
  dueAt: number;
}

/**
 * Writes that must be done although their callers got a failure: revocations. Each is repeated, less and less often,
 * until the store has done it. Each has its own pause, so a write that always fails or hangs does not delay the others.
 * At most 10,000 wait; one more gives up the oldest, which may be another caller's, and announces it as an overload.
 * They end with the process; the caller, who got the failure, then revokes again.
 */
export class RepeatedWrites {
  readonly #waiting = new Map<string, Waiting>();
  /**
   * Writes that are not in progress, by `failures`. All writes in one queue wait equally long, so the first is due
   * first.
   */
  readonly #queues: readonly Set<Waiting>[] = PAUSES_MS.map(() => new Set());
  /** Number of writes in progress, by whether they had failed before. */
  readonly #running = { first: 0, failed: 0 };
  readonly #onGivenUp: () => void;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** @param source of the event of an overload, such as "revocation" */
  constructor(runtime: Runtime, source: string) {
    this.#onGivenUp = () => announceOverload(runtime, source, "repeated-writes");
  }

  /** Number of writes that are not done yet. */
  get size(): number {
    return this.#waiting.size;
  }

  /**
   * @param name what is written; a later write of the same name replaces an earlier one
   * @param write may be called again while an earlier call hangs
   * @param underWay the call that was given up, if the store may still be executing it
   */
  add(name: string, write: () => Promise<unknown>, underWay?: Promise<unknown>): void {
    if (this.#isClosed) return;
    this.#remove(this.#waiting.get(name));
    const waiting = { name, write, underWay, awaited: undefined, failures: 0, dueAt: 0 };
    this.#waiting.set(name, waiting);
    this.#enqueue(waiting);
    if (this.#waiting.size <= MOST) return;
    const [oldest] = this.#waiting.values();
    this.#remove(oldest);
    this.#onGivenUp();
  }

  /** Whether a write of this name is not done yet. */
  isWaitingFor(name: string): boolean {
    return this.#waiting.has(name);
  }

  /**
   * For a call that does what the write of this name would do. Call this method when the call begins, and the returned
   * function when the call has succeeded. The function then gives up the write that was waiting at the beginning, which
   * would otherwise end what began after that success.
   */
  replacing(name: string): () => void {
    const waiting = this.#waiting.get(name);
    return () => {
      this.#remove(waiting);
    };
  }

  /** Gives up the remaining writes. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#waiting.clear();
    for (const queue of this.#queues) queue.clear();
  }

  /**
   * For a new operation that a waiting write of this name would end: the operation begins when that write is done.
   * Undefined when no write waits. Operations that begin meanwhile share the repetition, so that many of them make one
   * call.
   *
   * @returns rejects when the write fails
   */
  doNow(name: string): Promise<void> | undefined {
    const waiting = this.#waiting.get(name);
    if (waiting === undefined) return undefined;
    return (waiting.awaited ??= withTimeout(this.#doNow(waiting), WRITE_MS, { keepsAlive: false }).finally(
      () => (waiting.awaited = undefined),
    ));
  }

  async #doNow(waiting: Waiting): Promise<void> {
    // An earlier call that the store executes last would end the new operation. A call that hangs must not block it.
    if (waiting.underWay !== undefined) await withTimeout(waiting.underWay, EARLIER_CALL_MS).catch(() => undefined);
    if (this.#isWaiting(waiting)) await this.#do(waiting);
  }

  #enqueue(waiting: Waiting): void {
    waiting.dueAt = performance.now() + (PAUSES_MS[waiting.failures] ?? 0);
    this.#queues[waiting.failures]?.add(waiting);
    this.#schedule();
  }

  /** Starts the writes that are due, and sets the timer for the next. */
  #schedule(): void {
    clearTimeout(this.#timer);
    for (const [failures, queue] of this.#queues.entries()) {
      for (const waiting of queue) {
        if (waiting.dueAt > performance.now() || !this.#hasRoom(failures)) break;
        queue.delete(waiting);
        void this.#repeat(waiting);
      }
    }
    this.#timer = this.#nextTimer();
  }

  /** When there is no room for a write, it starts as soon as one in progress ends. */
  #nextTimer(): NodeJS.Timeout | undefined {
    const times = this.#queues.flatMap((queue, failures) => {
      const [first] = queue;
      return first !== undefined && this.#hasRoom(failures) ? [first.dueAt] : [];
    });
    if (times.length === 0) return undefined;
    // A timer may fire a little before its time.
    return setTimeout(() => this.#schedule(), Math.ceil(Math.min(...times) - performance.now())).unref();
  }

  #hasRoom(failures: number): boolean {
    const { first, failed } = this.#running;
    return first + failed < AT_ONCE && (failures === 0 || failed < FAILED_AT_ONCE);
  }

  async #repeat(waiting: Waiting): Promise<void> {
    const kind = waiting.failures === 0 ? "first" : "failed";
    this.#running[kind] += 1;
    const isDone = await this.#attempt(waiting);
    this.#running[kind] -= 1;
    if (this.#isClosed) return;
    if (isDone || !this.#isWaiting(waiting)) return this.#schedule();
    waiting.failures = Math.min(waiting.failures + 1, PAUSES_MS.length - 1);
    this.#enqueue(waiting);
  }

  /** False when the write failed or took too long; a write that finishes later still counts as done. */
  #attempt(waiting: Waiting): Promise<boolean> {
    // The guard of the store, or the refused call, has announced why it fails.
    return withTimeout(this.#do(waiting), WRITE_MS, { keepsAlive: false }).then(
      () => true,
      () => false,
    );
  }

  async #do(waiting: Waiting): Promise<void> {
    const call = Promise.resolve().then(waiting.write);
    waiting.underWay = call;
    try {
      await call;
    } finally {
      if (waiting.underWay === call) waiting.underWay = undefined;
    }
    this.#remove(waiting);
  }

  /** Whether the write has been neither done nor replaced. */
  #isWaiting(waiting: Waiting): boolean {
    return this.#waiting.get(waiting.name) === waiting;
  }

  #remove(waiting: Waiting | undefined): void {
    if (waiting === undefined || !this.#isWaiting(waiting)) return;
    this.#waiting.delete(waiting.name);
    this.#queues[waiting.failures]?.delete(waiting);
  }
}
