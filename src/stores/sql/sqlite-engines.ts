import type { SqliteDatabase, SqliteStatement } from "kysely";
import { SetupError } from "../../core/setup-error.js";
import { UnreadableRecordError } from "../health/store-fault.js";
import { importPackage } from "../optional-package.js";

/** The packages and the built-in module that can open a SQLite file, in the order they are tried. */
export const SQLITE_DRIVERS = ["node:sqlite", "libsql", "better-sqlite3"] as const;

/** The SQLite drivers that can be used. */
export type SqliteDriverName = (typeof SQLITE_DRIVERS)[number];

/** An available driver, and how it opens a file. */
export interface SqliteEngine {
  readonly name: SqliteDriverName;
  open(path: string): SqliteDatabase;
}

/**
 * The part of `node:sqlite` that this library uses. The types of Node 20, with which this library is compiled, do not
 * include it.
 */
interface NodeStatement {
  all(...parameters: unknown[]): unknown[];
  run(...parameters: unknown[]): { changes: number | bigint; lastInsertRowid: number | bigint };
  iterate(...parameters: unknown[]): IterableIterator<unknown>;
  columns?(): unknown[];
}

interface NodeDatabase {
  prepare(sql: string): NodeStatement;
  close(): void;
}

/**
 * Loads the first available driver: Node's own (22.13 and later), otherwise the package `libsql`, otherwise
 * `better-sqlite3`.
 *
 * @param only tries only this driver
 * @throws SetupError when no driver is available, with the command that installs one
 */
export async function loadSqliteEngine(only?: SqliteDriverName): Promise<SqliteEngine> {
  const failures: unknown[] = [];
  for (const name of only === undefined ? SQLITE_DRIVERS : [only]) {
    try {
      return name === "node:sqlite" ? await nodeEngine() : await packageEngine(name);
    } catch (error) {
      failures.push(error);
    }
  }
  const missing = only === undefined ? "Node's own SQLite (22.13 and later), libsql or better-sqlite3" : only;
  throw new SetupError(
    `A sqlite: database needs ${missing}, but none could be loaded. Install one with: npm install libsql`,
    {
      cause: new AggregateError(failures, "No SQLite driver could be loaded."),
    },
  );
}

/** libsql and better-sqlite3 have the same API, which is the one that Kysely expects. */
async function packageEngine(name: "libsql" | "better-sqlite3"): Promise<SqliteEngine> {
  const Database = (await importPackage(name)).default as new (path: string) => PackageDatabase;
  // better-sqlite3 loads its native part only when a database is opened.
  new Database(":memory:").close();
  return {
    name,
    open: (path) => {
      const database = new Database(path);
      return {
        prepare: (sql) => (RUN_WHOLE.test(sql) ? wholeStatement(sql, database) : database.prepare(sql)),
        close: () => database.close(),
      };
    },
  };
}

/**
 * libsql 0.5 does not reset a prepared statement that failed. A `BEGIN IMMEDIATE` that found the file locked would keep
 * its old view of the file until it is garbage-collected, and every later one would fail with SQLITE_BUSY_SNAPSHOT.
 * `exec` finalises its statements, so it runs those that may find the file locked.
 */
function wholeStatement(sql: string, database: PackageDatabase): SqliteStatement {
  return {
    reader: false,
    all: () => [],
    run: () => {
      database.exec(sql);
      return { changes: 0, lastInsertRowid: 0 };
    },
    iterate: () => [][Symbol.iterator](),
  };
}

async function nodeEngine(): Promise<SqliteEngine> {
  const DatabaseSync = (await importPackage("node:sqlite")).DatabaseSync as new (path: string) => NodeDatabase;
  return {
    name: "node:sqlite",
    open: (path) => {
      const database = new DatabaseSync(path);
      return { prepare: (sql) => adaptStatement(sql, database.prepare(sql)), close: () => database.close() };
    },
  };
}

interface PackageDatabase extends SqliteDatabase {
  exec(sql: string): unknown;
}

const RUN_WHOLE = /^(?:begin immediate|pragma \w+ = \w+)$/;
const RETURNS_ROWS = /^\s*(?:select|with|pragma|explain|values)\b|\breturning\b/i;

function adaptStatement(sql: string, statement: NodeStatement): SqliteStatement {
  return {
    // Before Node 22.16 a statement does not report its columns.
    reader: statement.columns === undefined ? RETURNS_ROWS.test(sql) : statement.columns().length > 0,
    all: (parameters) => readable(() => statement.all(...parameters)),
    run: (parameters) => statement.run(...parameters),
    iterate: (parameters) => statement.iterate(...parameters),
  };
}

/** node:sqlite reads no integer that a JavaScript number cannot keep. This library stores none, so the record is damaged. */
function readable<Rows>(read: () => Rows): Rows {
  try {
    return read();
  } catch (error) {
    if ((error as { readonly code?: unknown }).code !== "ERR_OUT_OF_RANGE") throw error;
    throw new UnreadableRecordError("row", { cause: error });
  }
}
