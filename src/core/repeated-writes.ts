/** Writes waited for at most; beyond it the oldest is given up, and only the answer to its caller stands. */
const MOST = 10_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** How long one write is waited for, in milliseconds, before the next takes its place. */
const WRITE_MS = 10_000;
/** How many writes are under way at once, so that a few that hang do not hold up the others. */
const AT_ONCE = 16;

/**
 * Writes that must be done although their callers were told "not now": revocations. Each is repeated until the store has
 * done it, less and less often while the store fails. One that fails or hangs does not hold up the others. They end with the
 * process; the caller, who was told that the store did not answer, revokes again then.
 */
export class RepeatedWrites {
  readonly #waiting = new Map<string, () => Promise<unknown>>();
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
   */
  add(name: string, write: () => Promise<unknown>): void {
    if (this.#isClosed) return;
    this.#waiting.delete(name);
    this.#waiting.set(name, write);
    if (this.#waiting.size > MOST) for (const oldest of this.#waiting.keys()) return void this.#waiting.delete(oldest);
    this.#schedule();
  }

  /** Forgets a write that has been done in another way. One that is under way goes on. */
  drop(name: string): void {
    this.#waiting.delete(name);
  }

  /** Gives up what is left. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#waiting.clear();
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
  async #runSome(turn: Iterator<[string, () => Promise<unknown>]>): Promise<boolean> {
    let areDone = true;
    for (let next = turn.next(); next.done !== true; next = turn.next()) {
      const [name, write] = next.value;
      if (this.#waiting.get(name) === write && !(await this.#attempt(name, write))) areDone = false;
    }
    return areDone;
  }

  /** False when the write failed or took too long; one that is done later counts all the same. */
  #attempt(name: string, write: () => Promise<unknown>): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), WRITE_MS).unref();
      const settled = (isDone: boolean): void => {
        clearTimeout(timer);
        if (isDone && this.#waiting.get(name) === write) this.#waiting.delete(name);
        resolve(isDone);
      };
      // The guard of the store, or the call that was refused, has announced why it fails.
      Promise.resolve().then(write).then(() => settled(true), () => settled(false));
    });
  }
}
