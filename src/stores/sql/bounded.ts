import { PortcullisError } from "../../core/portcullis-error.js";
import { setTimeout as sleep } from "node:timers/promises";
import { failureKind } from "./failures.js";

/** A database did not answer within its time limit. */
export class DatabaseTimeoutError extends PortcullisError {
  readonly code = "PORTCULLIS_DATABASE_TIMEOUT";

  constructor(what: string, ms: number) {
    super(`${what} within ${Math.round(ms)} ms`);
    this.name = "DatabaseTimeoutError";
  }
}

/** All connections of this process's pool were in use for as long as a caller could wait. The database is healthy. */
export class PoolBusyError extends PortcullisError {
  readonly code = "PORTCULLIS_POOL_BUSY";

  constructor() {
    super("All connections of the pool are in use.");
    this.name = "PoolBusyError";
  }
}

/**
 * Rejects when `work` takes longer than `ms`. A later result is passed to `late`; a later rejection is ignored.
 *
 * @param what for example "no connection was free"; the time is appended
 */
export function withinTime<T>(
  work: Promise<T>,
  ms: number,
  what: string,
  late: (value: T) => void = () => undefined,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let isOver = false;
    const timer = setTimeout(() => {
      isOver = true;
      reject(new DatabaseTimeoutError(what, ms));
    }, ms);
    work.then(
      (value) => {
        clearTimeout(timer);
        if (isOver) late(value);
        else resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        if (!isOver) reject(error);
      },
    );
  });
}

/** Milliseconds between two attempts to get a connection from a server that has no free one. */
const FULL_PAUSE_MS = 20;

/**
 * Gets a connection by the deadline. When the server has no free connection, it retries until then, since other
 * processes release theirs: many processes that start at once may want more connections than the server has.
 *
 * @param deadline on the clock of `performance.now()`, in milliseconds
 */
export async function acquireWithin<T>(
  acquire: () => Promise<T>,
  deadline: number,
  release: (connection: T) => void,
): Promise<T> {
  for (;;) {
    try {
      return await withinTime(acquire(), Math.max(1, deadline - performance.now()), "no connection was free", release);
    } catch (error) {
      if (failureKind(error) !== "full" || performance.now() + FULL_PAUSE_MS > deadline) throw error;
    }
    await sleep(FULL_PAUSE_MS * (0.5 + Math.random()));
  }
}
