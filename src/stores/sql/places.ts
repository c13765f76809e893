import { acquireWithin, DatabaseTimeoutError, PoolBusyError } from "./bounded.js";

/**
 * The places in a connection pool, served last in, first out. When more callers come than can be served in time, the
 * oldest have too little time left for a whole call. Serving them in order would let every call of a burst do its
 * look-up and none its write.
 */
export class Places {
  #free: number;
  readonly #isFull: () => boolean;
  readonly #waiting: { readonly serve: () => void }[] = [];

  /**
   * @param size number of places
   * @param isFull whether each place has an open connection; otherwise some places are taken by attempts to open one
   */
  constructor(size: number, isFull: () => boolean) {
    this.#free = size;
    this.#isFull = isFull;
  }

  /**
   * Waits for a place. The caller returns it afterwards.
   *
   * @param ms how long to wait, in milliseconds
   * @throws PoolBusyError (rejects) when none became free in that time; DatabaseTimeoutError when the server gave no
   * connections
   */
  take(ms: number): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return Promise.resolve();
    }
    return new Promise<void>((resolve, reject) => {
      const one = {
        serve: (): void => {
          clearTimeout(timer);
          resolve();
        },
      };
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(one), 1);
        reject(this.#isFull() ? new PoolBusyError() : new DatabaseTimeoutError("no connection was free", ms));
      }, ms);
      this.#waiting.push(one);
    });
  }

  /** Waits for a place and opens a connection for it, all within `ms`. A failure frees the place. */
  async acquire<T>(connect: () => Promise<T>, ms: number, release: (connection: T) => void): Promise<T> {
    const deadline = performance.now() + ms;
    await this.take(ms);
    try {
      return await acquireWithin(connect, deadline, release);
    } catch (error) {
      this.give();
      throw error;
    }
  }

  give(): void {
    const next = this.#waiting.pop();
    if (next === undefined) this.#free += 1;
    else next.serve();
  }
}
