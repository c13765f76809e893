/** Writes waited for at most; beyond it the oldest is given up, and only the answer to its caller stands. */
const MOST = 10_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** How long one write is waited for, in milliseconds, before the next takes its place. */
const WRITE_MS = 10_000;
/** How long what begins now waits for an earlier call, in milliseconds: most that are still done after their time are done by then. */
const EARLIER_CALL_MS = 50;
/** How many writes are under way at once, so that a few that hang do not hold up the others. */
const AT_ONCE = 16;

interface Waiting {
  readonly write: () => Promise<unknown>;
  /** The latest call, while it is under way. */
  underWay: Promise<unknown> | undefined;
}

/**
 * Writes that must be done although their callers were told "not now": revocations. Each is repeated until the store has
 * done it, less and less often while the store fails. One that fails or hangs does not hold up the others. They end with the
 * process; the caller, who was told that the store did not answer, revokes again then.
 */
export class RepeatedWrites {
  readonly #waiting = new Map<string, Waiting>();
  #timer: NodeJS.Timeout | undefined;
  #isRunning = false;
  #pauseMs = FIRST_PAUSE_MS;
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
    this.#waiting.delete(name);
    this.#waiting.set(name, { write, underWay });
    if (this.#waiting.size > MOST) for (const oldest of this.#waiting.keys()) return void this.#waiting.delete(oldest);
    this.#schedule();
  }

  /**
   * For a call that does what the write of this name would: call it when the call begins, and what it returns when the call has
   * succeeded. The write that waited at the beginning is then given up. It would end what began after that success.
   */
  replacing(name: string): () => void {
    const waiting = this.#waiting.get(name);
    return () => {
      if (waiting !== undefined) this.#remove(name, waiting);
    };
  }

  /** Gives up what is left. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#waiting.clear();
  }

  /**
   * For what begins now, and what a write of this name that waits would end: it begins when that write is done. Undefined when
   * none waits.
   *
   * @returns rejects when the write fails
   */
  doNow(name: string): Promise<void> | undefined {
    const waiting = this.#waiting.get(name);
    return waiting && this.#doNow(name, waiting);
  }

  async #doNow(name: string, waiting: Waiting): Promise<void> {
    // An earlier call that the store does last would end what begins now. One that hangs must not keep it from beginning.
    if (waiting.underWay !== undefined) await settledOr(EARLIER_CALL_MS, waiting.underWay);
    if (this.#waiting.get(name) === waiting) await this.#do(name, waiting);
  }

  #schedule(): void {
    if (this.#isRunning || this.#isClosed || this.#waiting.size === 0) return;
    this.#timer ??= setTimeout(() => void this.#run(), this.#pauseMs).unref();
  }

  async #run(): Promise<void> {
    this.#timer = undefined;
    this.#isRunning = true;
    // Those of now: what is added meanwhile has its turn after the pause.
    const turn = [...this.#waiting].values();
    const results = await Promise.all(Array.from({ length: AT_ONCE }, () => this.#runSome(turn)));
    this.#isRunning = false;
    this.#pauseMs = results.every(Boolean) ? FIRST_PAUSE_MS : Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    this.#schedule();
  }

  /** Takes one write after the other from the turn. False when one was not done. */
  async #runSome(turn: Iterator<[string, Waiting]>): Promise<boolean> {
    let areDone = true;
    for (let next = turn.next(); next.done !== true; next = turn.next()) {
      const [name, waiting] = next.value;
      if (this.#waiting.get(name) === waiting && !(await this.#attempt(name, waiting))) areDone = false;
    }
    return areDone;
  }

  /** False when the write failed or took too long; one that is done later counts all the same. */
  #attempt(name: string, waiting: Waiting): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), WRITE_MS).unref();
      const settled = (isDone: boolean): void => {
        clearTimeout(timer);
        resolve(isDone);
      };
      // The guard of the store, or the call that was refused, has announced why it fails.
      this.#do(name, waiting).then(
        () => settled(true),
        () => settled(false),
      );
    });
  }

  async #do(name: string, waiting: Waiting): Promise<void> {
    const call = Promise.resolve().then(waiting.write);
    waiting.underWay = call;
    try {
      await call;
    } finally {
      if (waiting.underWay === call) waiting.underWay = undefined;
    }
    this.#remove(name, waiting);
  }

  #remove(name: string, waiting: Waiting): void {
    if (this.#waiting.get(name) === waiting) this.#waiting.delete(name);
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
