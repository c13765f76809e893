import Database from "libsql";
import { migrationSql } from "portcullis/sql";

/** What pg gives for a statement. */
export interface Result {
  readonly command: string;
  readonly rowCount: number;
  readonly rows: readonly Record<string, unknown>[];
}

/** An error as a PostgreSQL server tells it. */
export function serverError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code, severity: "ERROR" });
}

interface Statement {
  readonly text: string;
  readonly parameters: readonly unknown[];
  readonly result: Result;
}

interface Prepared {
  readonly run: (parameters: readonly unknown[]) => Result;
  /** Positions of the parameters that go into a column of 255 characters. */
  readonly narrow: readonly number[];
}

/** A transaction is the list of what it did; it takes effect when all of it gives the same again at COMMIT. */
export type Transaction = Statement[];

const NARROW = new Set(["id", "owner_id", "family_id", "subject", "rotated_to", "successor_id"]);

/** One database for all runs of this worker, one after the other: to lay out the tables takes longer than to empty them. */
const db = new Database(":memory:");
db.exec("pragma foreign_keys = on");
db.exec(migrationSql("sqlite"));
const tables = db
  .prepare("select name from sqlite_master where type = 'table' and name <> 'portcullis_schema'")
  .all([]) as { name: string }[];
/** By text. They outlive a run, as the database does. */
const prepared = new Map<string, Prepared>();

/**
 * The SQL side of the simulated server: PostgreSQL's statements on SQLite in memory. Transactions of several connections
 * run beside each other: each statement runs on a copy of the past (what the transaction did is done again, and undone), and
 * COMMIT does everything once more. When a result differs then, another transaction came in between, and this one is undone
 * with 40001, as a server does to transactions it cannot put in a row. What the last transaction did is undone when another
 * statement comes, so nothing is done again where nothing came in between.
 */
export class PostgresEngine {
  /** The transaction whose statements have just run; they are not undone yet. */
  #current: Transaction | undefined;
  /** Every result of it is still what it was. */
  #isAsBefore = true;

  constructor() {
    db.exec(
      `begin; pragma defer_foreign_keys = on; ${tables.map(({ name }) => `delete from "${name}"`).join("; ")}; commit`,
    );
  }

  /** Outside of a transaction, or as the next statement of one. */
  execute(text: string, parameters: readonly unknown[], transaction: Transaction | undefined): Result {
    const fixed = fixedAnswer(text);
    if (fixed !== undefined) return fixed;
    if (transaction === undefined) {
      this.#undo();
      return this.#run(text, parameters);
    }
    try {
      if (this.#current !== transaction) this.#repeat(transaction);
      const result = this.#run(text, parameters);
      transaction.push({ text, parameters, result });
      return result;
    } catch (error) {
      this.#undo();
      throw error;
    }
  }

  commit(transaction: Transaction): void {
    if (transaction.length === 0) return;
    try {
      if (this.#current !== transaction) this.#repeat(transaction);
    } catch {
      this.#isAsBefore = false;
    }
    if (!this.#isAsBefore) {
      this.#undo();
      throw serverError("40001", "could not serialize access");
    }
    db.exec("commit");
    this.#current = undefined;
  }

  /** For the world itself: damages records, counts rows. */
  query(text: string, parameters: readonly unknown[] = []): readonly Record<string, unknown>[] {
    this.#undo();
    return this.#run(text, parameters).rows;
  }

  close(): void {
    this.#undo();
  }

  #undo(): void {
    if (this.#current !== undefined) db.exec("rollback");
    this.#current = undefined;
  }

  /** Does again what a transaction did so far. */
  #repeat(transaction: Transaction): void {
    this.#undo();
    db.exec("begin");
    this.#current = transaction;
    this.#isAsBefore = true;
    for (const { text, parameters, result } of transaction) {
      if (JSON.stringify(this.#run(text, parameters)) !== JSON.stringify(result)) this.#isAsBefore = false;
    }
  }

  #run(text: string, parameters: readonly unknown[]): Result {
    let known = prepared.get(text);
    if (known === undefined) prepared.set(text, (known = prepare(text)));
    for (const at of known.narrow) {
      const value = parameters[at];
      if (typeof value === "string" && [...value].length > 255)
        throw serverError("22001", "value too long for type character varying(255)");
    }
    try {
      return known.run(parameters);
    } catch (error) {
      // A statement that failed keeps its state in libsql; the next one is prepared afresh.
      prepared.delete(text);
      const { code } = error as { code?: unknown };
      if (typeof code === "string" && code.startsWith("SQLITE_CONSTRAINT"))
        throw serverError("23505", "a constraint was violated");
      throw error;
    }
  }
}

function prepare(text: string): Prepared {
  const command = (/^\s*(\w+)/.exec(text)?.[1] ?? "").toUpperCase();
  const statement = db.prepare(text.replace(/\$(\d+)/g, "?$1").replace(/ for update(?: skip locked)?/, ""));
  const run = (parameters: readonly unknown[]): Result => {
    const values = numbered(parameters);
    if (statement.reader) {
      const rows = statement.all(values) as Record<string, unknown>[];
      return { command, rowCount: rows.length, rows };
    }
    return { command, rowCount: statement.run(values).changes, rows: [] };
  };
  return { run, narrow: narrowParameters(text) };
}

/** libsql takes booleans for nothing it knows; PostgreSQL's are never written here. */
function numbered(parameters: readonly unknown[]): unknown[] {
  return parameters.map((value) => (value === undefined ? null : value));
}

function narrowParameters(text: string): number[] {
  const insert = /^insert into "(\w+)" \(([^)]*)\) values (.*)$/s.exec(text);
  if (insert === null) return [];
  const [, table = "", list = "", values = ""] = insert;
  const columns = list.split(", ").map((column) => column.replaceAll('"', ""));
  const isNarrow = (column: string | undefined): boolean =>
    column !== undefined && (NARROW.has(column) || (column === "name" && table === "portcullis_changes"));
  return [...values.matchAll(/\(([^)]*)\)/g)].flatMap(([, tuple = ""]) =>
    tuple
      .split(", ")
      .flatMap((value, at) => (isNarrow(columns[at]) && /^\$\d+$/.test(value) ? [Number(value.slice(1)) - 1] : [])),
  );
}

function fixedAnswer(text: string): Result | undefined {
  if (text.includes("version() as version"))
    return { command: "SELECT", rowCount: 1, rows: [{ version: "PostgreSQL 16 (simulated)" }] };
  if (/^set /i.test(text)) return { command: "SET", rowCount: 0, rows: [] };
  if (text.includes("pg_catalog")) return { command: "SELECT", rowCount: 1, rows: [{ found: 1 }] };
  return undefined;
}
