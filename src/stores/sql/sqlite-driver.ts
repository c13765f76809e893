import { closeSync, openSync } from "node:fs";
import { Kysely, SqliteDialect, type SqliteDatabase } from "kysely";
import { SetupError } from "../../core/setup-error.js";
import { parseSqliteUrl } from "../database/url.js";
import { noteEngine } from "./engines.js";
import { reasonOf } from "./errors.js";
import type { PortcullisDatabase, PortcullisTables } from "./schema.js";
import { loadSqliteEngine, type SqliteDriverName } from "./sqlite-engines.js";
import { retryBusy } from "./transaction.js";
import { writeTurns } from "./write-turns.js";

/** Settings of `openSqlite`. */
export interface OpenSqliteSettings {
  /** Uses only this driver instead of the first available one. */
  readonly driver?: SqliteDriverName | undefined;
}

/** An open SQLite database. */
export interface OpenedSqlite {
  /** The Kysely instance. */
  readonly db: PortcullisDatabase;
  /** The driver in use. */
  readonly driver: SqliteDriverName;
  /** The absolute path, or `:memory:`. */
  readonly path: string;
  /** Closes the database. */
  close(): Promise<void>;
}

/**
 * WAL lets reads continue while one process writes. `synchronous = FULL` makes each commit wait until it is on the
 * disk: with NORMAL a commit would survive a killed process, but a power failure could make a revoked key valid again
 * (https://www.sqlite.org/pragma.html#pragma_synchronous). Writes here are few: keys, revocations, one rotation for
 * each session and half-hour, one usage batch every few seconds. `retryBusy` waits for locks.
 */
const PRAGMAS = ["busy_timeout = 0", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"];

/**
 * Opens `sqlite:path/to/file.db` or `sqlite::memory:`. If the file does not exist, it is created, readable and writable
 * by its owner only; SQLite creates the files beside it (-wal, -shm) with the same mode.
 *
 * @throws SettingsError when the URL is not an SQLite URL
 * @throws SetupError when no driver is installed or the file cannot be opened
 *
 * @example
 * ```ts
 * import { openSqlite } from "portcullis/sql";
 *
 * const { db, close } = await openSqlite("sqlite:app.db");
 * await close();
 * ```
 */
export async function openSqlite(url: string, options: OpenSqliteSettings = {}): Promise<OpenedSqlite> {
  const path = parseSqliteUrl(url);
  const engine = await loadSqliteEngine(options.driver);
  const database = openFile(path, (file) => engine.open(file));
  try {
    for (const pragma of PRAGMAS) await retryBusy(async () => runPragma(database, pragma));
  } catch (error) {
    database.close();
    throw new SetupError(`The SQLite database ${path} cannot be used: ${reasonOf(error)}.`, { cause: error });
  }
  const db = new Kysely<PortcullisTables>({ dialect: new SqliteDialect({ database: async () => database }) });
  noteEngine(db, "sqlite");
  return { db, driver: engine.name, path, close: closer(db, database) };
}

function openFile(path: string, open: (path: string) => SqliteDatabase): SqliteDatabase {
  try {
    // "a" creates the file and never truncates it; the mode applies only to a new file.
    if (path !== ":memory:") closeSync(openSync(path, "a", 0o600));
    return open(path);
  } catch (error) {
    throw new SetupError(
      `The SQLite database ${path} cannot be opened: ${reasonOf(error)}. Its folder must exist and be writable.`,
      {
        cause: error,
      },
    );
  }
}

function runPragma(database: SqliteDatabase, pragma: string): void {
  const statement = database.prepare(`pragma ${pragma}`);
  if (statement.reader) statement.all([]);
  else statement.run([]);
}

/** Kysely closes a database only after its first query; closing twice is an error in node:sqlite. */
function closer(db: PortcullisDatabase, database: SqliteDatabase): () => Promise<void> {
  let closing: Promise<void> | undefined;
  const close = async () => {
    await writeTurns(db).settled();
    // Any query makes Kysely take ownership of the database, so that `destroy` closes it.
    await db.connection().execute(async () => undefined);
    await db.destroy();
  };
  return () => (closing ??= close().catch(() => database.close()));
}
