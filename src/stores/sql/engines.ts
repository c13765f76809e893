import { sql } from "kysely";
import { SetupError } from "../../core/setup-error.js";
import type { PortcullisDatabase } from "./schema.js";

/** The engines this library speaks to. MariaDB is spoken to as MySQL is. */
export type SqlEngine = "sqlite" | "postgres" | "mysql";

const known = new WeakMap<PortcullisDatabase, SqlEngine>();
const asked = new WeakMap<PortcullisDatabase, Promise<SqlEngine>>();

/** Notes the engine of an instance made here, so that nobody needs to ask it. */
export function noteEngine(db: PortcullisDatabase, engine: SqlEngine): void {
  known.set(db, engine);
}

/** The engine, when it has been asked or noted. */
export function knownEngine(db: PortcullisDatabase): SqlEngine | undefined {
  return known.get(db);
}

/**
 * Which engine a Kysely instance talks to. Asks it once.
 *
 * @throws SetupError when it is another engine, or a MySQL session whose settings would alter what is written
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
      // A server that cannot be reached now may be reached later.
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
    // SQLite's is sqlite_version(). What else may be wrong (a server that cannot be reached, say) is told as it is.
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
    "The Kysely instance given as `database` is of none of the engines that are supported: PostgreSQL, MySQL, MariaDB and SQLite.",
  );
}

/**
 * Without strict mode MySQL cuts text that is too long, which makes two owners one; in another character set it replaces
 * letters by question marks; without autocommit nothing that was acknowledged is kept; with NO_BACKSLASH_ESCAPES the
 * escaping done by mysql2's `query`, which Kysely calls, is wrong.
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
    wrong.push("sql_mode must have STRICT_ALL_TABLES");
  if (modes.includes("NO_BACKSLASH_ESCAPES")) wrong.push("sql_mode must not have NO_BACKSLASH_ESCAPES");
  if (Number(auto) !== 1) wrong.push("autocommit must be 1");
  if (letters !== "utf8mb4") wrong.push('the connection\'s character set must be utf8mb4 (mysql2: charset: "utf8mb4")');
  if (name === null) wrong.push("a database must be chosen");
  if (wrong.length > 0)
    throw new SetupError(
      `The MySQL connections of the Kysely instance given as \`database\` cannot be used: ${wrong.join("; ")}.`,
    );
}
