import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import type { PortcullisDatabase } from "./schema.js";

/** How long a write waits for another process to let go of the database file, in milliseconds. */
const BUSY_TIMEOUT_MS = 5000;
const LONGEST_PAUSE_MS = 25;

/**
 * Runs `work` in one transaction, and again when another process holds the file (`SQLITE_BUSY`); by then nothing of the
 * former run is left.
 *
 * `BEGIN IMMEDIATE` takes the write lock at once. A transaction that reads first and writes later could not be given the
 * lock when another process wrote in between (https://www.sqlite.org/isolation.html). Every write goes through here,
 * those of one statement too, so that a locked file is met at BEGIN and nowhere else.
 */
export function writeTransaction<T>(db: PortcullisDatabase, work: (transaction: PortcullisDatabase) => Promise<T>): Promise<T> {
  return retryBusy(() =>
    db.connection().execute(async (connection) => {
      await sql`begin immediate`.execute(connection);
      try {
        const result = await work(connection);
        await sql`commit`.execute(connection);
        return result;
      } catch (error) {
        // SQLite may have rolled back by itself (a full disk); what went wrong is told by the first error.
        await sql`rollback`.execute(connection).catch(() => undefined);
        throw error;
      }
    }),
  );
}

/**
 * Repeats an operation while the database file is locked by another process, up to five seconds. The waiting is done
 * here and not by SQLite's own `busy_timeout`: the drivers are synchronous, so that one would stop the whole process.
 */
export async function retryBusy<T>(operation: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + BUSY_TIMEOUT_MS;
  for (let pause = 1; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    try {
      return await operation();
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error;
    }
    // A random part keeps two processes from knocking in step.
    await sleep(pause * (0.5 + Math.random()));
  }
}

/** `SQLITE_BUSY` (5) and its extended codes, as node:sqlite (`errcode`) and the others (`code`) tell them. */
function isBusy(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  return (typeof code === "string" && code.startsWith("SQLITE_BUSY")) || (typeof errcode === "number" && (errcode & 0xff) === 5);
}
