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

/**
 * The SQL side of the simulated server: PostgreSQL's statements on SQLite in memory. Transactions of several connections
 * run beside each other: each statement runs on a copy of the past (what the transaction did is done again, and undone), and
 * COMMIT does everything once more. When a result differs then, another transaction came in between, and this one is undone
 * with 40001, as a server does to transactions it cannot put in a row.
 */
export class PostgresEngine {
  readonly #db = new Database(":memory:");
  readonly #prepared = new Map<string, Prepared>();

  constructor() {
    this.#db.exec("pragma foreign_keys = on");
    this.#db.exec(migrationSql("sqlite"));
  }

  /** Outside of a transaction, or as the next statement of one. */
  execute(text: string, parameters: readonly unknown[], transaction: Transaction | undefined): Result {
    const fixed = fixedAnswer(text);
    if (fixed !== undefined) return fixed;
    if (transaction === undefined) return this.#run(text, parameters);
    this.#db.exec("begin");
    try {
      for (const earlier of transaction) this.#run(earlier.text, earlier.parameters);
      const result = this.#run(text, parameters);
      transaction.push({ text, parameters, result });
      return result;
    } finally {
      this.#db.exec("rollback");
    }
  }

  commit(transaction: Transaction): void {
    if (transaction.length === 0) return;
    this.#db.exec("begin");
    try {
      for (const { text, parameters, result } of transaction) {
        if (JSON.stringify(this.#run(text, parameters)) !== JSON.stringify(result)) throw serverError("40001", "could not serialize access");
      }
    } catch (error) {
      this.#db.exec("rollback");
      throw (error as { code?: string }).code === "40001" ? error : serverError("40001", "could not serialize access");
    }
    this.#db.exec("commit");
  }

  /** For the world itself: damages records, counts rows. */
  query(text: string, parameters: readonly unknown[] = []): readonly Record<string, unknown>[] {
    return this.#run(text, parameters).rows;
  }

  close(): void {
    this.#prepared.clear();
    this.#db.close();
  }

  #run(text: string, parameters: readonly unknown[]): Result {
    let prepared = this.#prepared.get(text);
    if (prepared === undefined) this.#prepared.set(text, (prepared = this.#prepare(text)));
    for (const at of prepared.narrow) {
      const value = parameters[at];
      if (typeof value === "string" && [...value].length > 255) throw serverError("22001", "value too long for type character varying(255)");
    }
    try {
      return prepared.run(parameters);
    } catch (error) {
      // A statement that failed keeps its state in libsql; the next one is prepared afresh.
      this.#prepared.delete(text);
      const { code } = error as { code?: unknown };
      if (typeof code === "string" && code.startsWith("SQLITE_CONSTRAINT")) throw serverError("23505", "a constraint was violated");
      throw error;
    }
  }

  #prepare(text: string): Prepared {
    const command = (/^\s*(\w+)/.exec(text)?.[1] ?? "").toUpperCase();
    const statement = this.#db.prepare(text.replace(/\$(\d+)/g, "?$1").replace(/ for update(?: skip locked)?/, ""));
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
  const isNarrow = (column: string | undefined): boolean => column !== undefined && (NARROW.has(column) || (column === "name" && table === "portcullis_changes"));
  return [...values.matchAll(/\(([^)]*)\)/g)].flatMap(([, tuple = ""]) =>
    tuple.split(", ").flatMap((value, at) => (isNarrow(columns[at]) && /^\$\d+$/.test(value) ? [Number(value.slice(1)) - 1] : [])),
  );
}

function fixedAnswer(text: string): Result | undefined {
  if (text.includes("version() as version")) return { command: "SELECT", rowCount: 1, rows: [{ version: "PostgreSQL 16 (simulated)" }] };
  if (/^set /i.test(text)) return { command: "SET", rowCount: 0, rows: [] };
  if (text.includes("pg_catalog")) return { command: "SELECT", rowCount: 1, rows: [{ found: 1 }] };
  return undefined;
}
