/** Writes waited for at most; beyond it the oldest is given up, and only the answer to its caller stands. */
const MOST = 10_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Writes that must be done although their callers were told "not now": revocations. Each is repeated until the store has
 * done it, one after the other, less and less often while the store fails. They end with the process; the caller, who was
 * told that the store did not answer, revokes again then.
 */
export class RepeatedWrites {
  readonly #waiting = new Map<string, () => Promise<unknown>>();
  #timer: NodeJS.Timeout | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #isClosed = false;

  /** How many writes have not been done yet. */
  get size(): number {
    return this.#waiting.size;
  }

  /** @param name what is written; a later write of the same name takes the place of an earlier one */
  add(name: string, write: () => Promise<unknown>): void {
    if (this.#isClosed) return;
    this.#waiting.delete(name);
    this.#waiting.set(name, write);
    if (this.#waiting.size > MOST) for (const oldest of this.#waiting.keys()) return void this.#waiting.delete(oldest);
    this.#schedule();
  }

  /** Gives up what is left. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#waiting.clear();
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => void this.#run(), this.#pauseMs).unref();
  }

  async #run(): Promise<void> {
    try {
      for (const [name, write] of this.#waiting) {
        await write();
        if (this.#waiting.get(name) === write) this.#waiting.delete(name);
      }
      this.#pauseMs = FIRST_PAUSE_MS;
    } catch {
      // The guard of the store has announced the outage. The next turn begins with the write that failed.
      this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    }
    this.#timer = undefined;
    if (this.#waiting.size > 0 && !this.#isClosed) this.#schedule();
  }
}
