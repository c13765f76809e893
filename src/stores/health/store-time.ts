/**
 * The time that the store calls of one public call may take together. It begins with the public call and is passed to
 * each call of a `StoreGuard`, so that two calls that are each in time cannot take twice the time-out.
 */
export class StoreTime {
  #deadline: number;
  #isWhole = true;

  /** @param ms how long the store calls may take together, in milliseconds */
  constructor(ms: number) {
    this.#deadline = performance.now() + ms;
  }

  /** When the time is over, on the clock of `performance.now()`, in milliseconds. */
  get deadline(): number {
    return this.#deadline;
  }

  get isOver(): boolean {
    return performance.now() >= this.#deadline;
  }

  /** Begins a store call. Returns how many milliseconds it has, and whether that is the whole time. */
  begin(): { readonly ms: number; readonly isWhole: boolean } {
    const isWhole = this.#isWhole;
    this.#isWhole = false;
    return { ms: this.#deadline - performance.now(), isWhole };
  }

  /** Runs work that calls no store. Its duration does not count. */
  async besides<T>(work: () => Promise<T>): Promise<T> {
    const began = performance.now();
    try {
      return await work();
    } finally {
      this.#deadline += performance.now() - began;
    }
  }
}
