import { PortcullisError } from "../../core/portcullis-error.js";
import { setTimeout as sleep } from "node:timers/promises";
import { failureKind } from "./failures.js";

/** A database did not do something within the time it had. */
export class DatabaseTimeoutError extends PortcullisError {
  readonly code = "PORTCULLIS_DATABASE_TIMEOUT";

  constructor(what: string, ms: number) {
    super(`${what} within ${Math.round(ms)} ms`);
    this.name = "DatabaseTimeoutError";
  }
}

/** All connections of this process' pool were in use for as long as a caller could wait. The database is well. */
export class PoolBusyError extends PortcullisError {
  readonly code = "PORTCULLIS_POOL_BUSY";

  constructor() {
    super("All connections of the pool are in use.");
    this.name = "PoolBusyError";
  }
}

/**
 * Rejects when `work` takes longer than `ms`. What comes later goes to `late`; a rejection that comes later is dropped.
 *
 * @param what "no connection was free", say; the time is added
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

/** Milliseconds between two attempts to get a connection from a server that has no more to give. */
const FULL_PAUSE_MS = 20;

/**
 * Gets a connection by the deadline. A server that has no more of them is asked again until then, since others give theirs
 * back: a fleet that starts all at once may want more than the server has.
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
