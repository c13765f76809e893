import { sql } from "kysely";
import { SetupError } from "../../core/setup-error.js";
import { createTable } from "./ddl.js";
import { engineOf, type SqlEngine } from "./engines.js";
import { classifyDriverError } from "../health/driver-errors.js";
import type { PortcullisDatabase } from "./schema.js";
import { SCHEMA_TABLE, STEPS } from "./tables.js";
import { read, retryBusy, writeTransaction } from "./transaction.js";

/** The version of the schema this library works with. */
export const SCHEMA_VERSION = STEPS.length;

/** An arbitrary number that no other program uses for its advisory lock: "portcull" in ASCII. */
const POSTGRES_LOCK = "8101820098873224300";
/** Seconds to wait for another process that is creating the schema. */
const MYSQL_LOCK_SECONDS = 25;

/**
 * Migrates the schema to `SCHEMA_VERSION`. If the schema has that version already, it does nothing and needs only the
 * permission to read. Several processes may migrate at once: PostgreSQL and SQLite migrate in one transaction, which
 * locks out the others. On MySQL, where every such statement commits by itself, a lock admits one process at a time,
 * and each statement may be run again after a crash.
 *
 * @throws SetupError when the database was written by a newer version of this library, when the role may not create
 * tables, or when the Kysely instance is of another engine
 *
 * @example
 * ```ts
 * import { migrate, openPostgres } from "portcullis/sql";
 *
 * const { db, close } = await openPostgres(process.env.DATABASE_URL ?? "");
 * await migrate(db);
 * await close();
 * ```
 */
export async function migrate(db: PortcullisDatabase): Promise<void> {
  const engine = await retryBusy(() => engineOf(db));
  const version = await retryBusy(() => read(db, () => schemaVersion(db, engine)));
  if (version === SCHEMA_VERSION) return;
  try {
    await (engine === "mysql" ? migrateMysql(db) : retryBusy(() => migrateAtOnce(db)));
  } catch (error) {
    if (classifyDriverError(error) !== "no-rights") throw error;
    const problem =
      version === 0
        ? "The database does not have the tables of portcullis, and this database user may not create them."
        : `The schema of the database must be upgraded from version ${version} to ${SCHEMA_VERSION}, but this database user may not change it.`;
    throw new SetupError(
      `${problem} Run the SQL that migrationSql("${engine}"${version > 0 ? `, { from: ${version} }` : ""}) of portcullis/sql returns, as a user who may.`,
      { cause: error },
    );
  }
}

/**
 * Returns the SQL that `migrate` runs, for schema changes that are reviewed or applied by hand, or that the app has no
 * permission to make.
 *
 * @param engine the SQL dialect
 * @param options.from the current version of the database (0: it has none of our tables)
 *
 * @example
 * ```ts
 * import { migrationSql } from "portcullis/sql";
 *
 * console.log(migrationSql("postgres"));
 * ```
 */
export function migrationSql(engine: SqlEngine = "sqlite", options: { readonly from?: number } = {}): string {
  const { from = 0 } = options;
  const lines = from === 0 ? createTable(engine, SCHEMA_TABLE).map(ended) : [];
  for (let version = from; version < SCHEMA_VERSION; version += 1) {
    lines.push("", `-- version ${version + 1}`, ...statementsOf(engine, version).map(ended));
    lines.push(`insert into portcullis_schema (version, applied_at) values (${version + 1}, 0);`);
  }
  // Without a transaction, a failure in the middle would leave half of the changes.
  if (engine !== "mysql") return ["begin;", ...lines, "", "commit;", ""].join("\n");
  return `${lines.join("\n")}\n`;
}

function ended(statement: string): string {
  return `${statement};`;
}

function statementsOf(engine: SqlEngine, version: number): string[] {
  return STEPS[version]?.(engine) ?? [];
}

async function migrateAtOnce(db: PortcullisDatabase): Promise<void> {
  await writeTransaction(db, async (transaction, engine) => {
    if (engine === "postgres") await sql`select pg_advisory_xact_lock(${sql.raw(POSTGRES_LOCK)})`.execute(transaction);
    let version = await schemaVersion(transaction, engine);
    if (version === 0 && !(await hasSchemaTable(transaction, engine)))
      await runAll(transaction, createTable(engine, SCHEMA_TABLE));
    for (; version < SCHEMA_VERSION; version += 1) {
      await runAll(transaction, statementsOf(engine, version));
      await transaction
        .insertInto("portcullis_schema")
        .values({ version: version + 1, applied_at: Date.now() })
        .execute();
    }
  });
}

async function migrateMysql(db: PortcullisDatabase): Promise<void> {
  await db.connection().execute(async (connection) => {
    // Lock names belong to the server, not to the database, and have at most 64 characters. MySQL 9 has no sha1().
    const lock = sql`concat('portcullis-', left(sha2(database(), 256), 40))`;
    const { rows } = await sql<{
      held: unknown;
    }>`select get_lock(${lock}, ${sql.raw(String(MYSQL_LOCK_SECONDS))}) as held`.execute(connection);
    if (Number(rows[0]?.held) !== 1)
      throw new SetupError(
        `Another process is creating the database schema and has not finished within ${MYSQL_LOCK_SECONDS} seconds. Try again when it has.`,
      );
    try {
      await runAll(connection, createTable("mysql", SCHEMA_TABLE));
      for (let version = await schemaVersion(connection, "mysql"); version < SCHEMA_VERSION; version += 1) {
        await runAll(connection, statementsOf("mysql", version));
        await sql`insert ignore into portcullis_schema (version, applied_at) values (${version + 1}, ${Date.now()})`.execute(
          connection,
        );
      }
    } finally {
      await sql`do release_lock(${lock})`.execute(connection).catch(() => undefined);
    }
  });
}

async function runAll(db: PortcullisDatabase, statements: readonly string[]): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

/** The version of the database's schema; 0 when it has none of our tables. */
async function schemaVersion(db: PortcullisDatabase, engine: SqlEngine): Promise<number> {
  if (!(await hasSchemaTable(db, engine))) return 0;
  const row = await db
    .selectFrom("portcullis_schema")
    .select("version")
    .orderBy("version", "desc")
    .limit(1)
    .executeTakeFirst();
  const version = Number(row?.version ?? 0);
  if (version > SCHEMA_VERSION) {
    throw new SetupError(
      `The database has schema version ${version}, but this version of portcullis supports only ${SCHEMA_VERSION}. Upgrade portcullis.`,
    );
  }
  return version;
}

async function hasSchemaTable(db: PortcullisDatabase, engine: SqlEngine): Promise<boolean> {
  const known = {
    sqlite: sql`select 1 as found from sqlite_master where type = 'table' and name = 'portcullis_schema'`,
    // Not to_regclass: it may answer from this session's cache, which taking an advisory lock does not refresh.
    postgres: sql`select 1 as found from pg_catalog.pg_class where relname = 'portcullis_schema' and relkind in ('r', 'p') and pg_catalog.pg_table_is_visible(oid)`,
    mysql: sql`select 1 as found from information_schema.tables where table_schema = database() and table_name = 'portcullis_schema'`,
  };
  return (await known[engine].execute(db)).rows.length > 0;
}
