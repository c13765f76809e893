import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import { DeadlinePassedError, type WriteCall } from "../health/write-call.js";
import { DatabaseTimeoutError, withinTime } from "./bounded.js";
import { engineOf, knownEngine, type SqlEngine } from "./engines.js";
import { failureKind } from "./failures.js";
import type { PortcullisDatabase } from "./schema.js";

/** How long a write waits for another process to let go of an SQLite file, in milliseconds. */
const BUSY_TIMEOUT_MS = 5000;
const LONGEST_PAUSE_MS = 25;
/** How often a server may undo a transaction because of another before its error is told. */
const MOST_CONFLICTS = 8;
/** How many connections in a row may be found dead: a fail-over ends all of a pool's, and each is noticed by its own. */
const MOST_LOSSES = 3;
const LOSS_PAUSE_MS = 10;

/** Reads outside of a transaction. Repeated when SQLite's file is locked, and when the connection was found dead. */
export async function read<T>(db: PortcullisDatabase, query: (db: PortcullisDatabase) => Promise<T>): Promise<T> {
  if (knownEngine(db) === undefined) await engineOf(db);
  return repeat(
    () => query(db),
    () => true,
  );
}

/** A write of one statement: a transaction by itself on a server. */
export async function write<T>(
  db: PortcullisDatabase,
  statement: (db: PortcullisDatabase, engine: SqlEngine) => Promise<T>,
): Promise<T> {
  const engine = knownEngine(db) ?? (await engineOf(db));
  if (engine === "sqlite") return sqliteTransaction(db, (transaction) => statement(transaction, engine));
  // Whether it was done when the connection broke, nobody knows; so it is not done again.
  return repeat(
    () => statement(db, engine),
    () => false,
  );
}

/**
 * Runs `work` in one transaction, and again when the engine undid it for the sake of another.
 *
 * Servers run it at READ COMMITTED: an UPDATE that waited for another transaction's row looks at the row as that one left
 * it and checks its WHERE again, which is what makes each compare-and-set here have one winner (PostgreSQL manual 13.2.1;
 * InnoDB reads the latest version in an UPDATE at any level). A connection that breaks before COMMIT is sent leaves
 * nothing behind, so the work is done on another; one that breaks after is an error, since nobody knows.
 *
 * @param call the call this write is part of: past its deadline the transaction is rolled back
 * @throws DeadlinePassedError (rejects) then
 */
export async function writeTransaction<T>(
  db: PortcullisDatabase,
  work: (transaction: PortcullisDatabase, engine: SqlEngine) => Promise<T>,
  call?: WriteCall,
): Promise<T> {
  const engine = knownEngine(db) ?? (await engineOf(db));
  if (engine === "sqlite") return sqliteTransaction(db, (transaction) => work(transaction, engine), call);
  let isCommitting = false;
  const attempt = (): Promise<T> => {
    isCommitting = false;
    return db.connection().execute(async (connection) => {
      refuseIfPast(call);
      return connection
        .transaction()
        .setIsolationLevel("read committed")
        .execute(async (transaction) => {
          const result = await work(transaction, engine);
          if (call?.beginCommit() === false) throw new DeadlinePassedError();
          isCommitting = true;
          return result;
        });
    });
  };
  try {
    const result = await repeat(attempt, () => !isCommitting);
    call?.commitEnded();
    return result;
  } catch (error) {
    const isLost = error instanceof DatabaseTimeoutError || failureKind(error) === "lost";
    throw isCommitting && isLost ? new CommitLostError(error) : error;
  }
}

/** Called when the connection is there: the wait for it may have taken all the time of the call. */
function refuseIfPast(call: WriteCall | undefined): void {
  if (call !== undefined && performance.now() >= call.deadline) throw new DeadlinePassedError();
}

/** The connection was lost after COMMIT was sent: whether it was done, its answer would have said. */
class CommitLostError extends Error {
  constructor(cause: unknown) {
    super("The connection was lost while a transaction was being committed.", { cause });
    this.name = "CommitLostError";
  }
}

/** The connection was lost at COMMIT, and another one shows nothing of the transaction: the server is well, and this one call failed. */
class CommitUndoneError extends Error {
  readonly code = "PORTCULLIS_COMMIT_UNDONE";

  constructor(lost: CommitLostError) {
    super("The connection was lost at COMMIT, and nothing shows that the transaction was committed.", {
      cause: lost.cause,
    });
    this.name = "CommitUndoneError";
  }
}

/** How long a lost commit is asked about, in milliseconds: as long as the caller waits for it. */
const DOUBT_MS = 4500;

/**
 * Finds out about a commit whose answer was lost with its connection. When that cannot be read in time, the commit stays in
 * doubt: the promise rejects, and the server may still commit.
 *
 * @param isThere reads, on another connection, whether what the transaction wrote is there. For a row that was changed, by
 *   locking it: the lock waits until the server has ended the transaction, so the answer is final.
 */
export async function settleLostCommit(
  transaction: Promise<boolean>,
  isThere: () => Promise<boolean>,
): Promise<boolean> {
  try {
    return await transaction;
  } catch (error) {
    if (!(error instanceof CommitLostError)) throw error;
    if (await withinTime(isThere(), DOUBT_MS, "whether a transaction was committed could not be read")) return true;
    throw new CommitUndoneError(error);
  }
}

/**
 * `BEGIN IMMEDIATE` takes the write lock at once. A transaction that reads first and writes later could not be given the
 * lock when another process wrote in between (https://www.sqlite.org/isolation.html). Every write goes through here,
 * those of one statement too, so that a locked file is met at BEGIN and nowhere else.
 */
function sqliteTransaction<T>(
  db: PortcullisDatabase,
  work: (transaction: PortcullisDatabase) => Promise<T>,
  call?: WriteCall,
): Promise<T> {
  return repeat(
    () =>
      db.connection().execute(async (connection) => {
        refuseIfPast(call);
        await sql`begin immediate`.execute(connection);
        try {
          const result = await work(connection);
          if (call?.beginCommit() === false) throw new DeadlinePassedError();
          await sql`commit`.execute(connection);
          call?.commitEnded();
          return result;
        } catch (error) {
          // SQLite may have rolled back by itself (a full disk); what went wrong is told by the first error.
          await sql`rollback`.execute(connection).catch(() => undefined);
          throw error;
        }
      }),
    () => false,
    call?.deadline,
  );
}

/** Repeats an operation while the database file is locked by another process, up to five seconds. */
export function retryBusy<T>(operation: () => Promise<T>): Promise<T> {
  return repeat(operation, () => false);
}

/**
 * The waiting for a locked SQLite file is done here and not by SQLite's own `busy_timeout`: the drivers are synchronous,
 * so that one would stop the whole process.
 */
async function repeat<T>(
  operation: () => Promise<T>,
  mayBeRepeatedWhenLost: () => boolean,
  callEnds = Infinity,
): Promise<T> {
  const deadline = Math.min(performance.now() + BUSY_TIMEOUT_MS, callEnds);
  let conflicts = 0;
  let losses = 0;
  for (let pause = 1; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    try {
      return await operation();
    } catch (error) {
      const kind = failureKind(error);
      const isWorthwhile =
        (kind === "busy" && performance.now() < deadline) ||
        (kind === "conflict" && (conflicts += 1) <= MOST_CONFLICTS) ||
        (kind === "lost" && mayBeRepeatedWhenLost() && (losses += 1) <= MOST_LOSSES);
      if (!isWorthwhile) throw error;
      if (kind === "lost") pause = Math.max(pause, LOSS_PAUSE_MS);
    }
    // A random part keeps two processes from knocking in step.
    await sleep(pause * (0.5 + Math.random()));
  }
}
