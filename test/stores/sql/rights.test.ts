import { Kysely, MysqlDialect, PostgresDialect } from "kysely";
import mysql from "mysql2";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { migrate, migrationSql, openMysql, openPostgres } from "portcullis/sql";
import { SCHEMA_VERSION } from "../../../src/stores/sql/migrations.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { SetupError } from "../../../src/core/setup-error.js";
import { openDatabase } from "../../../src/stores/database/open-database.js";
import { sampleKey, sampleToken } from "../../../src/testing/samples.js";
import { mariaDbDatabase, mariaDbQuery, postgresDatabase, postgresQuery, uniqueName } from "../../support/servers.js";

const PASSWORD = "hunter2hunter2";

function as(url: string, user: string): string {
  const changed = new URL(url);
  changed.username = user;
  changed.password = PASSWORD;
  return changed.href;
}

/** Over one connection, as the mysql client runs a file. */
async function runMysql(url: string, text: string): Promise<void> {
  const connection = mysql.createConnection({ uri: url, multipleStatements: true }).promise();
  try {
    await connection.query(text);
  } finally {
    await connection.end();
  }
}

const ENGINES = [
  {
    engine: "postgres",
    newDatabase: postgresDatabase,
    open: openPostgres,
    run: (url: string, text: string) => postgresQuery(url, text),
    denied: "permission denied",
    async newRole(url: string): Promise<string> {
      const role = uniqueName();
      await postgresQuery(url, `create role ${role} login password '${PASSWORD}'`);
      await postgresQuery(
        url,
        `alter default privileges in schema public grant select, insert, update, delete on tables to ${role}`,
      );
      return role;
    },
    describeSchema: (url: string) =>
      postgresQuery(
        url,
        "select table_name, column_name, data_type, is_nullable, collation_name, is_identity, character_maximum_length from information_schema.columns where table_schema = 'public' order by 1, 2",
      ),
    describeIndexes: (url: string) =>
      postgresQuery(url, "select indexdef from pg_indexes where schemaname = 'public' order by 1"),
  },
  {
    engine: "mysql",
    newDatabase: mariaDbDatabase,
    open: openMysql,
    run: runMysql,
    denied: "command denied",
    async newRole(url: string): Promise<string> {
      const role = uniqueName();
      await mariaDbQuery(url, `create user '${role}'@'%' identified by '${PASSWORD}'`);
      await mariaDbQuery(
        url,
        `grant select, insert, update, delete on ${new URL(url).pathname.slice(1)}.* to '${role}'@'%'`,
      );
      return role;
    },
    describeSchema: (url: string) =>
      mariaDbQuery(
        url,
        "select table_name, column_name, column_type, is_nullable, collation_name, extra from information_schema.columns where table_schema = database() order by 1, 2",
      ),
    describeIndexes: (url: string) =>
      mariaDbQuery(
        url,
        "select table_name, index_name, seq_in_index, column_name, collation from information_schema.statistics where table_schema = database() order by 1, 2, 3",
      ),
  },
] as const;

describe.each(ENGINES)(
  "$engine",
  ({ engine, newDatabase, open, run, denied, newRole, describeSchema, describeIndexes }) => {
    test("a role that may not create tables gets an error with what to run; after that it works", async () => {
      const url = await newDatabase();
      const app = as(url, await newRole(url));

      const before = openDatabase(app, createRuntime());
      const refused = await before.ready().catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(SetupError);
      expect((refused as Error).message).toBe(
        `The database does not have the tables of portcullis, and this database user may not create them. Run the SQL that migrationSql("${engine}") of portcullis/sql returns, as a user who may.`,
      );
      expect(String(((refused as Error).cause as Error).message)).toContain(denied);
      await before.close();

      await run(url, migrationSql(engine));
      const { apiKeys, tokens, changes, ready, close } = openDatabase(app, createRuntime(), { timeoutMs: 5000 });
      await ready();
      await apiKeys.insert(sampleKey());
      await apiKeys.addUsage([{ id: "key-1", count: 1, lastUsedAt: 1 }]);
      await tokens.insert(sampleToken());
      await tokens.rotate("token-1", 1, sampleToken({ id: "token-2" }), "sealed");
      await tokens.revokeSubject("user-1", Date.now(), Date.now() + 60_000);
      await changes.record([{ kind: "api-key", name: "key-1" }]);
      expect(await tokens.deleteExpired(Date.now() + 90 * 86_400_000)).toBe(3);
      expect((await apiKeys.get("key-1"))?.usageCount).toBe(4);
      await close();
    });

    test("a role that may not upgrade the schema gets an error with what to run; after that it works", async () => {
      const url = await newDatabase();
      const app = as(url, await newRole(url));
      const whole = migrationSql(engine);
      const former = SCHEMA_VERSION - 1;
      const upTo = whole.slice(0, whole.indexOf(`-- version ${SCHEMA_VERSION}`));
      await run(url, engine === "postgres" ? `${upTo} commit;` : upTo);

      const before = openDatabase(app, createRuntime());
      const refused = await before.ready().catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(SetupError);
      expect((refused as Error).message).toBe(
        `The schema of the database must be upgraded from version ${former} to ${SCHEMA_VERSION}, but this database user may not change it. Run the SQL that migrationSql("${engine}", { from: ${former} }) of portcullis/sql returns, as a user who may.`,
      );
      await before.close();

      await run(url, migrationSql(engine, { from: former }));
      const { tokens, ready, close } = openDatabase(app, createRuntime(), { timeoutMs: 5000 });
      await ready();
      await tokens.insert(sampleToken());
      const listed = () => tokens.familiesOf?.("user-1", Date.now(), { limit: 10 });
      expect(await listed()).toHaveLength(1);
      await tokens.revokeSubject("user-1", Date.now(), Date.now() + 60_000);
      expect(await listed()).toEqual([]);
      await close();
    });

    test("the printed SQL equals what migrate creates, from any version on", async () => {
      const [byHand, inSteps, byMigrate] = [await newDatabase(), await newDatabase(), await newDatabase()];
      await run(byHand, migrationSql(engine));
      // A database at version 1, brought on by what is printed for it.
      const whole = migrationSql(engine);
      const firstStep = whole.slice(0, whole.indexOf("-- version 2")) + (engine === "postgres" ? "commit;" : "");
      await run(inSteps, firstStep);
      await run(inSteps, migrationSql(engine, { from: 1 }));
      const opened = await open(byMigrate);
      await migrate(opened.slowDb);
      await opened.close();
      expect(await describeSchema(byHand)).toEqual(await describeSchema(byMigrate));
      expect(await describeIndexes(byHand)).toEqual(await describeIndexes(byMigrate));
      expect(await describeSchema(inSteps)).toEqual(await describeSchema(byMigrate));
      expect(await describeIndexes(inSteps)).toEqual(await describeIndexes(byMigrate));
    });

    test("a migration that a crash left half done is finished by the next start", async () => {
      const url = await newDatabase();
      const whole = migrationSql(engine);
      // On PostgreSQL nothing of a transaction that was not committed is left; on MySQL all that was run is.
      const half = whole.slice(0, whole.indexOf("insert into portcullis_schema (version, applied_at) values (2"));
      await run(url, engine === "postgres" ? `${half} rollback;` : half);
      const opened = openDatabase(url, createRuntime());
      await opened.ready();
      await opened.close();
      const columns = {
        portcullis_schema: 2,
        portcullis_api_keys: 28,
        portcullis_owner_marks: 4,
        portcullis_token_families: 9,
        portcullis_subject_marks: 4,
        portcullis_refresh_tokens: 16,
        portcullis_changes: 6,
        portcullis_credentials: 12,
        portcullis_single_use: 5,
      };
      expect(await describeSchema(url)).toHaveLength(Object.values(columns).reduce((sum, count) => sum + count, 0));
    });

    test("wrong credentials are refused without the password in any part of the error", async () => {
      const url = await newDatabase();
      const wrong = new URL(as(url, "nobody_known"));
      wrong.pathname = "/no_such_database";
      const opened = openDatabase(wrong.href, createRuntime());
      const error = await opened.ready().catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(SetupError);
      expect((error as Error).message).toMatch(
        new RegExp(`^The ${engine} database 127\\.0\\.0\\.1:\\d+/no_such_database cannot be used: `),
      );
      const { inspect } = await import("node:util");
      expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(PASSWORD);
      expect(JSON.stringify(opened.describe())).not.toMatch(/hunter2|nobody_known/);
      await opened.close();
    });
  },
);

test("MySQL sessions whose mode would alter written data are refused", async () => {
  const url = await mariaDbDatabase();
  const pool = mysql.createPool({ uri: url, connectionLimit: 1, charset: "latin1_swedish_ci" });
  pool.on("connection", (connection) =>
    connection.query("set session sql_mode = 'NO_BACKSLASH_ESCAPES', autocommit = 0"),
  );
  const db = new Kysely<unknown>({ dialect: new MysqlDialect({ pool }) });
  await expect(openDatabase(db, createRuntime()).ready()).rejects.toThrow(
    'have unsuitable settings: sql_mode must include STRICT_ALL_TABLES; sql_mode must not include NO_BACKSLASH_ESCAPES; autocommit must be 1; the connection\'s character set must be utf8mb4 (mysql2: charset: "utf8mb4").',
  );
  await db.destroy();
});

test("a Kysely instance of the app may have another schema on its search path", async () => {
  const url = await postgresDatabase();
  await postgresQuery(url, "create schema keys");
  const db = new Kysely<unknown>({
    dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: url, options: "-c search_path=keys" }) }),
  });
  await openDatabase(db, createRuntime()).ready();
  expect(
    await postgresQuery(url, "select distinct schemaname from pg_tables where tablename like 'portcullis%'"),
  ).toEqual([{ schemaname: "keys" }]);
  await db.destroy();
});
