/** Writes waited for at most; beyond it the oldest is given up, and only the answer to its caller stands. */
const MOST = 10_000;
/** How long a write waits, in milliseconds, by how often it has been repeated in vain; the last pause stays. */
const PAUSES_MS = [500, 1000, 2000, 4000, 8000, 16_000, 30_000];
/** How long one write is waited for, in milliseconds, before the next takes its place. */
const WRITE_MS = 10_000;
/** How long what begins now waits for an earlier call, in milliseconds: most that are still done after their time are done by then. */
const EARLIER_CALL_MS = 50;
/** How many writes are under way at once, so that a few that hang do not hold up the others. */
const AT_ONCE = 16;
/** How many of them may be writes that were repeated in vain before: those that fail for ever leave room for new ones. */
const FAILED_AT_ONCE = 8;

interface Waiting {
  readonly name: string;
  readonly write: () => Promise<unknown>;
  /** The latest call, while it is under way. */
  underWay: Promise<unknown> | undefined;
  /** How often it has been repeated in vain, up to the last index of the pauses. */
  failures: number;
  /** When it is repeated, on the clock of `performance.now()`. */
  dueAt: number;
}

/**
 * Writes that must be done although their callers were told "not now": revocations. Each is repeated until the store has
 * done it, less and less often. Each has its own pause, so one that always fails or hangs does not hold up the others. They end
 * with the process; the caller, who was told that the store did not answer, revokes again then.
 */
export class RepeatedWrites {
  readonly #waiting = new Map<string, Waiting>();
  /** Those that are not under way, by `failures`. All in one queue wait equally long, so the first is due first. */
  readonly #queues: readonly Set<Waiting>[] = PAUSES_MS.map(() => new Set());
  /** How many writes are under way, by whether they had been repeated in vain before. */
  readonly #running = { first: 0, failed: 0 };
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** How many writes have not been done yet. */
  get size(): number {
    return this.#waiting.size;
  }

  /**
   * @param name what is written; a later write of the same name takes the place of an earlier one
   * @param write may be called again while an earlier call hangs
   * @param underWay the call that was given up, if the store may still be doing it
   */
  add(name: string, write: () => Promise<unknown>, underWay?: Promise<unknown>): void {
    if (this.#isClosed) return;
    this.#remove(this.#waiting.get(name));
    const waiting = { name, write, underWay, failures: 0, dueAt: 0 };
    this.#waiting.set(name, waiting);
    this.#enqueue(waiting);
    const [oldest] = this.#waiting.values();
    if (this.#waiting.size > MOST) this.#remove(oldest);
  }

  /**
   * For a call that does what the write of this name would: call it when the call begins, and what it returns when the call has
   * succeeded. The write that waited at the beginning is then given up. It would end what began after that success.
   */
  replacing(name: string): () => void {
    const waiting = this.#waiting.get(name);
    return () => {
      this.#remove(waiting);
    };
  }

  /** Gives up what is left. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#waiting.clear();
    for (const queue of this.#queues) queue.clear();
  }

  /**
   * For what begins now, and what a write of this name that waits would end: it begins when that write is done. Undefined when
   * none waits.
   *
   * @returns rejects when the write fails
   */
  doNow(name: string): Promise<void> | undefined {
    const waiting = this.#waiting.get(name);
    return waiting && this.#doNow(waiting);
  }

  async #doNow(waiting: Waiting): Promise<void> {
    // An earlier call that the store does last would end what begins now. One that hangs must not keep it from beginning.
    if (waiting.underWay !== undefined) await settledOr(EARLIER_CALL_MS, waiting.underWay);
    if (this.#isWaiting(waiting)) await this.#do(waiting);
  }

  #enqueue(waiting: Waiting): void {
    waiting.dueAt = performance.now() + (PAUSES_MS[waiting.failures] ?? 0);
    this.#queues[waiting.failures]?.add(waiting);
    this.#schedule();
  }

  /** Starts what is due, and sets the timer for what will be. */
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

  /** Those for which there is no room are started when one that is under way ends. */
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

  /** False when the write failed or took too long; one that is done later counts all the same. */
  #attempt(waiting: Waiting): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), WRITE_MS).unref();
      const settled = (isDone: boolean): void => {
        clearTimeout(timer);
        resolve(isDone);
      };
      // The guard of the store, or the call that was refused, has announced why it fails.
      this.#do(waiting).then(
        () => settled(true),
        () => settled(false),
      );
    });
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

  /** Whether it has been neither done nor replaced. */
  #isWaiting(waiting: Waiting): boolean {
    return this.#waiting.get(waiting.name) === waiting;
  }

  #remove(waiting: Waiting | undefined): void {
    if (waiting === undefined || !this.#isWaiting(waiting)) return;
    this.#waiting.delete(waiting.name);
    this.#queues[waiting.failures]?.delete(waiting);
  }
}

/** Resolves when the call has settled, however, or the time is up. */
function settledOr(ms: number, call: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    const settled = (): void => {
      clearTimeout(timer);
      resolve();
    };
    call.then(settled, settled);
  });
}
