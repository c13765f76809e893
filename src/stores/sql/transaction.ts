import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import { classifyDriverError } from "../health/driver-errors.js";
import { DeadlinePassedError, type WriteCall } from "../health/write-call.js";
import { withTimeout } from "../health/timeout.js";
import { engineOf, knownEngine, type SqlEngine } from "./engines.js";
import { CommitLostError, CommitUndoneError, DatabaseTimeoutError } from "./errors.js";
import type { PortcullisDatabase } from "./schema.js";
import { writeTurns } from "./write-turns.js";

/** How long a read waits for another process to unlock an SQLite file, in milliseconds. */
const BUSY_TIMEOUT_MS = 5000;
/** How long a write waits for that when its call has no deadline, in milliseconds: the longest `storeTimeoutMs`. */
const WRITE_BUSY_TIMEOUT_MS = 60_000;
/** How long the start of a process waits for that, in milliseconds: many may start at once and create the schema. */
const START_BUSY_TIMEOUT_MS = 25_000;
const LONGEST_PAUSE_MS = 25;
/** One write of a process at a time tries to lock the file: it may try often. */
const LONGEST_WRITE_PAUSE_MS = 2;
/** How often a server may roll a transaction back because of another before the caller gets the error. */
const MOST_CONFLICTS = 8;
/**
 * How many connections in a row may be found dead: a failover ends all connections of a pool, and each is detected
 * separately.
 */
const MOST_LOSSES = 3;
const LOSS_PAUSE_MS = 10;

/**
 * Reads outside of a transaction. Repeats the read when SQLite's file is locked, and when the connection was found
 * dead.
 */
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
  // When the connection broke, it is unknown whether the write was done, so it is not repeated.
  return repeat(
    () => statement(db, engine),
    () => false,
  );
}

/**
 * Runs `work` in one transaction, and repeats it when the engine rolled it back because of another.
 *
 * Servers run it at READ COMMITTED: an UPDATE that waited for another transaction's row reads that transaction's result
 * and checks its WHERE again, so that each compare-and-set here has one winner (PostgreSQL manual 13.2.1; InnoDB reads
 * the latest version in an UPDATE at any level). If a connection breaks before COMMIT is sent, nothing was written, so
 * the work is repeated on another connection. If it breaks afterwards, that is an error, since the outcome is unknown.
 *
 * @param call the call to which this write belongs: past its deadline the transaction is rolled back
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
    const isLost = error instanceof DatabaseTimeoutError || isConnectionLost(error);
    throw isCommitting && isLost ? new CommitLostError(error) : error;
  }
}

/**
 * Whether a compare-and-set has already lost, according to a plain read. Such a read waits for nobody, so the losers of a
 * race on an SQLite file need not wait until they may write to it. On a server a loser waits for the row alone, and the
 * read would cost the winner a round trip: the answer is false.
 *
 * @param finds reads whether the row is still as the caller expects it
 */
export async function hasLost(
  db: PortcullisDatabase,
  finds: (db: PortcullisDatabase) => Promise<unknown>,
): Promise<boolean> {
  const engine = knownEngine(db) ?? (await engineOf(db));
  return engine === "sqlite" && (await read(db, finds)) === undefined;
}

function isConnectionLost(error: unknown): boolean {
  const kind = classifyDriverError(error);
  return kind === "connection-lost" || kind === "connection-ended";
}

/** Called once the connection is available: waiting for it may have used up the time of the call. */
function refuseIfPast(call: WriteCall | undefined): void {
  if (call !== undefined && performance.now() >= call.deadline) throw new DeadlinePassedError();
}

/** How long to check a lost commit, in milliseconds: as long as the caller waits for it. */
const DOUBT_MS = 4500;
const UNREAD = {
  onTimeout: () => new DatabaseTimeoutError("whether a transaction was committed could not be read", DOUBT_MS),
};

/**
 * Finds out the outcome of a commit whose answer was lost with its connection. If it cannot be read in time, the commit
 * stays in doubt: the promise rejects, and the server may still commit.
 *
 * @param isThere reads, on another connection, whether the transaction's write is there. For a changed row it locks the
 *   row: the lock waits until the server has ended the transaction, so the answer is final.
 */
export async function settleLostCommit(
  transaction: Promise<boolean>,
  isThere: () => Promise<boolean>,
): Promise<boolean> {
  try {
    return await transaction;
  } catch (error) {
    if (!(error instanceof CommitLostError)) throw error;
    if (await withTimeout(isThere(), DOUBT_MS, UNREAD)) return true;
    throw new CommitUndoneError(error);
  }
}

/**
 * `BEGIN IMMEDIATE` takes the write lock at once. A transaction that reads first and writes later could not get the
 * lock after another process wrote in between (https://www.sqlite.org/isolation.html). Every write uses this function,
 * including a single statement, so that only BEGIN can find the file locked.
 */
function sqliteTransaction<T>(
  db: PortcullisDatabase,
  work: (transaction: PortcullisDatabase) => Promise<T>,
  call?: WriteCall,
): Promise<T> {
  const deadline = call?.deadline ?? performance.now() + WRITE_BUSY_TIMEOUT_MS;
  const attempt = (began: () => void): Promise<T> =>
    db.connection().execute(async (connection) => {
      refuseIfPast(call);
      await sql`begin immediate`.execute(connection);
      began();
      try {
        const result = await work(connection);
        if (call?.beginCommit() === false) throw new DeadlinePassedError();
        await sql`commit`.execute(connection);
        call?.commitEnded();
        return result;
      } catch (error) {
        // SQLite may have rolled back by itself (a full disk); the first error says what went wrong.
        await sql`rollback`.execute(connection).catch(() => undefined);
        throw error;
      }
    });
  return writeTurns(db).take((began) =>
    repeat(
      () => attempt(began),
      () => false,
      deadline,
      LONGEST_WRITE_PAUSE_MS,
    ),
  );
}

/** Repeats an operation of the start while another process has locked the SQLite file, up to 25 seconds. */
export function retryBusy<T>(operation: () => Promise<T>): Promise<T> {
  return repeat(operation, () => false, performance.now() + START_BUSY_TIMEOUT_MS);
}

/**
 * Waits for a locked SQLite file here and not with SQLite's own `busy_timeout`: the drivers are synchronous, so that
 * setting would block the whole process.
 */
async function repeat<T>(
  operation: () => Promise<T>,
  mayBeRepeatedWhenLost: () => boolean,
  deadline = performance.now() + BUSY_TIMEOUT_MS,
  longestPauseMs = LONGEST_PAUSE_MS,
): Promise<T> {
  let conflicts = 0;
  let losses = 0;
  for (let pause = 1; ; pause = Math.min(pause * 2, longestPauseMs)) {
    try {
      return await operation();
    } catch (error) {
      const kind = classifyDriverError(error);
      const isLost = isConnectionLost(error);
      const isWorthwhile =
        (kind === "busy" && performance.now() < deadline) ||
        (kind === "conflict" && (conflicts += 1) <= MOST_CONFLICTS) ||
        (isLost && mayBeRepeatedWhenLost() && (losses += 1) <= MOST_LOSSES);
      if (!isWorthwhile) throw error;
      if (isLost) pause = Math.max(pause, LOSS_PAUSE_MS);
    }
    // A random part prevents two processes from retrying in step.
    await sleep(pause * (0.5 + Math.random()));
  }
}
