import { PortcullisError } from "../../core/portcullis-error.js";
import type { TimeoutSettings } from "../health/timeout.js";

/** A database did not answer within its time limit. */
export class DatabaseTimeoutError extends PortcullisError {
  readonly code = "PORTCULLIS_DATABASE_TIMEOUT";

  constructor(what: string, ms: number) {
    super(`${what} within ${Math.round(ms)} ms`);
    this.name = "DatabaseTimeoutError";
  }
}

/** The time limit of a statement, for `withTimeout`. */
export function noAnswer<T>(ms: number): TimeoutSettings<T> {
  return { onTimeout: () => new DatabaseTimeoutError("the database did not respond", ms) };
}

/** All connections of this process's pool were in use for as long as a caller could wait. The database is healthy. */
export class PoolBusyError extends PortcullisError {
  readonly code = "PORTCULLIS_POOL_BUSY";

  constructor() {
    super("All connections of the pool are in use.");
    this.name = "PoolBusyError";
  }
}

/** The connection was lost after COMMIT was sent, and with it the answer that says whether the commit was done. */
export class CommitLostError extends PortcullisError {
  readonly code = "PORTCULLIS_COMMIT_LOST";

  constructor(cause: unknown) {
    super("The connection was lost while a transaction was being committed.", { cause });
    this.name = "CommitLostError";
  }
}

/**
 * The connection was lost at COMMIT, and another connection found nothing of the transaction: the server is healthy,
 * and only this call failed.
 */
export class CommitUndoneError extends PortcullisError {
  readonly code = "PORTCULLIS_COMMIT_UNDONE";

  constructor(lost: CommitLostError) {
    super("The connection was lost at COMMIT, and the database does not contain the transaction.", {
      cause: lost.cause,
    });
    this.name = "CommitUndoneError";
  }
}

/** The message of an error; an AggregateError of several addresses has no message of its own. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown reason";
  if (error.message !== "") return error.message;
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : error.name;
}
