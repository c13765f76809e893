import { setTimeout as sleep } from "node:timers/promises";
import { classifyDriverError } from "../health/driver-errors.js";
import { withTimeout } from "../health/timeout.js";
import { DatabaseTimeoutError, PoolBusyError } from "./errors.js";

/** Milliseconds between two attempts to get a connection from a server that has no free one. */
const FULL_PAUSE_MS = 20;

/**
 * The places in a connection pool, served last in, first out. When more callers come than can be served in time, the
 * oldest have too little time left for a whole call. Serving them in order would let every call of a burst do its
 * look-up and none its write.
 */
export class Places {
  #free: number;
  readonly #isFull: () => boolean;
  readonly #waiting: (() => void)[] = [];

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
    let serve = (): void => undefined;
    const served = new Promise<void>((resolve) => (serve = resolve));
    this.#waiting.push(serve);
    return withTimeout(served, ms, {
      onTimeout: () => {
        this.#waiting.splice(this.#waiting.indexOf(serve), 1);
        return this.#isFull() ? new PoolBusyError() : noConnection(ms);
      },
    });
  }

  /** Waits for a place and opens a connection for it, all within `ms`. A failure frees the place. */
  async acquire<T>(connect: () => Promise<T>, ms: number, release: (connection: T) => void): Promise<T> {
    const deadline = performance.now() + ms;
    await this.take(ms);
    try {
      return await connectWithin(connect, deadline, release);
    } catch (error) {
      this.give();
      throw error;
    }
  }

  give(): void {
    const serve = this.#waiting.pop();
    if (serve === undefined) this.#free += 1;
    else serve();
  }
}

/**
 * Gets a connection by the deadline. When the server has no free connection, it retries until then, since other
 * processes release theirs: many processes that start at once may want more connections than the server has.
 *
 * @param deadline on the clock of `performance.now()`, in milliseconds
 * @param release gets a connection that arrives too late
 */
async function connectWithin<T>(
  connect: () => Promise<T>,
  deadline: number,
  release: (connection: T) => void,
): Promise<T> {
  for (;;) {
    try {
      const ms = Math.max(1, deadline - performance.now());
      return await withTimeout(connect(), ms, { onTimeout: () => noConnection(ms), onLate: release });
    } catch (error) {
      if (classifyDriverError(error) !== "server-full" || performance.now() + FULL_PAUSE_MS > deadline) throw error;
    }
    await sleep(FULL_PAUSE_MS * (0.5 + Math.random()));
  }
}

function noConnection(ms: number): DatabaseTimeoutError {
  return new DatabaseTimeoutError("no connection was free", ms);
}
