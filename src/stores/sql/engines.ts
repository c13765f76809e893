import { sql } from "kysely";
import { SetupError } from "../../core/setup-error.js";
import type { PortcullisDatabase } from "./schema.js";

/** The engines that this library supports. MariaDB is treated as MySQL. */
export type SqlEngine = "sqlite" | "postgres" | "mysql";

const known = new WeakMap<PortcullisDatabase, SqlEngine>();
const asked = new WeakMap<PortcullisDatabase, Promise<SqlEngine>>();

/** Records the engine of an instance created here, so that no query is needed to find it. */
export function noteEngine(db: PortcullisDatabase, engine: SqlEngine): void {
  known.set(db, engine);
}

/** The engine, if it is already known. */
export function knownEngine(db: PortcullisDatabase): SqlEngine | undefined {
  return known.get(db);
}

/**
 * Returns the engine of a Kysely instance. Queries it once.
 *
 * @throws SetupError when it is another engine, or a MySQL session whose settings would alter what is written
 *
 * @example
 * ```ts
 * import { engineOf, openSqlite } from "portcullis/sql";
 *
 * const { db } = await openSqlite("sqlite:app.db");
 * console.log(await engineOf(db)); // sqlite
 * ```
 */
export async function engineOf(db: PortcullisDatabase): Promise<SqlEngine> {
  const engine = known.get(db);
  if (engine !== undefined) return engine;
  let answer = asked.get(db);
  if (answer === undefined) {
    answer = ask(db);
    asked.set(db, answer);
    answer.then(
      (found) => known.set(db, found),
      // A server that is unreachable now may be reachable later.
      () => asked.delete(db),
    );
  }
  return answer;
}

async function ask(db: PortcullisDatabase): Promise<SqlEngine> {
  let version: unknown;
  try {
    const { rows } = await sql<{ version: unknown }>`select version() as version`.execute(db);
    version = rows[0]?.version;
  } catch (error) {
    // SQLite's function is sqlite_version(). Any other error (an unreachable server, for example) is rethrown as it is.
    if (error instanceof Error && error.message.includes("no such function")) return "sqlite";
    throw error;
  }
  const text = version instanceof Uint8Array ? new TextDecoder().decode(version) : version;
  if (typeof text === "string" && /postgresql|cockroachdb|yugabyte/i.test(text)) return "postgres";
  if (typeof text === "string" && /^\d+\.\d+/.test(text)) {
    await checkMysqlSession(db);
    return "mysql";
  }
  throw new SetupError(
    "The Kysely instance in `database` uses an engine that is not supported. Use PostgreSQL, MySQL, MariaDB or SQLite.",
  );
}

/**
 * Without strict mode MySQL truncates text that is too long, so two owners could become one. In another character set
 * it replaces letters by question marks. Without autocommit acknowledged writes are lost. With NO_BACKSLASH_ESCAPES the
 * escaping of mysql2's `query`, which Kysely calls, is wrong.
 */
async function checkMysqlSession(db: PortcullisDatabase): Promise<void> {
  const { rows } = await sql<{ mode: unknown; auto: unknown; letters: unknown; name: unknown }>`
    select @@session.sql_mode as mode, @@session.autocommit as auto, @@session.character_set_connection as letters, database() as name`.execute(
    db,
  );
  const { mode, auto, letters, name } = rows[0] ?? {};
  const modes = String(mode).split(",");
  const wrong: string[] = [];
  if (!modes.some((one) => one === "STRICT_ALL_TABLES" || one === "STRICT_TRANS_TABLES" || one === "TRADITIONAL"))
    wrong.push("sql_mode must include STRICT_ALL_TABLES");
  if (modes.includes("NO_BACKSLASH_ESCAPES")) wrong.push("sql_mode must not include NO_BACKSLASH_ESCAPES");
  if (Number(auto) !== 1) wrong.push("autocommit must be 1");
  if (letters !== "utf8mb4") wrong.push('the connection\'s character set must be utf8mb4 (mysql2: charset: "utf8mb4")');
  if (name === null) wrong.push("a database must be selected");
  if (wrong.length > 0)
    throw new SetupError(
      `The MySQL connections of the Kysely instance in \`database\` have unsuitable settings: ${wrong.join("; ")}.`,
    );
}
