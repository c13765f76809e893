import { closeSync, openSync } from "node:fs";
import { Kysely, SqliteDialect, type SqliteDatabase } from "kysely";
import { SetupError } from "../../core/setup-error.js";
import { parseSqliteUrl } from "../database/url.js";
import { noteEngine } from "./engines.js";
import { reasonOf } from "./failures.js";
import type { PortcullisDatabase, PortcullisTables } from "./schema.js";
import { loadSqliteEngine, type SqliteDriverName } from "./sqlite-engines.js";
import { retryBusy } from "./transaction.js";

export interface OpenSqliteOptions {
  /** Uses this driver alone instead of the first that is there. */
  readonly driver?: SqliteDriverName | undefined;
}

/** An open SQLite database. */
export interface OpenedSqlite {
  readonly db: PortcullisDatabase;
  readonly driver: SqliteDriverName;
  /** The absolute path, or `:memory:`. */
  readonly path: string;
  close(): Promise<void>;
}

/**
 * WAL lets readers go on while one process writes. `synchronous = FULL` makes each commit wait until it is on the disk:
 * with NORMAL it would outlive a killed process, but a power failure could bring a revoked key back to life
 * (https://www.sqlite.org/pragma.html#pragma_synchronous). Writes here are few: keys, revocations, one rotation a
 * session and half-hour, one usage batch every few seconds. Waiting for a lock is `retryBusy`'s work.
 */
const PRAGMAS = ["busy_timeout = 0", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"];

/**
 * Opens `sqlite:path/to/file.db` or `sqlite::memory:`. A file that does not exist is created, readable and writable by
 * its owner only; SQLite gives the files beside it (-wal, -shm) the same mode.
 *
 * @throws SettingsError when the URL is not one of SQLite
 * @throws SetupError when no driver is installed or the file cannot be opened
 */
export async function openSqlite(url: string, options: OpenSqliteOptions = {}): Promise<OpenedSqlite> {
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
    // "a" creates and never truncates; the mode counts only when the file is new.
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
    // Any query makes Kysely take the database over, so that `destroy` closes it.
    await db.connection().execute(async () => undefined);
    await db.destroy();
  };
  return () => (closing ??= close().catch(() => database.close()));
}
