import { acquireWithin, DatabaseTimeoutError, PoolBusyError } from "./bounded.js";

/**
 * The places in a pool of connections. The one who came last is served first: when more come than can be served in time, those
 * who have waited for long have too little time left for a whole call, and serving them in order would let every call of a
 * burst do its look-up and none its write.
 */
export class Places {
  #free: number;
  readonly #isFull: () => boolean;
  readonly #waiting: { readonly serve: () => void }[] = [];

  /**
   * @param size how many there are
   * @param isFull whether there is an open connection at each place; otherwise the places are taken by attempts to make one
   */
  constructor(size: number, isFull: () => boolean) {
    this.#free = size;
    this.#isFull = isFull;
  }

  /**
   * Waits for a place; whoever got one gives it back.
   *
   * @param ms how long to wait, in milliseconds
   * @throws PoolBusyError (rejects) when none became free in that time; DatabaseTimeoutError when the server gave no connections
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

  /** Waits for a place and gets a connection for it, all within `ms`. A failure gives the place back. */
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
