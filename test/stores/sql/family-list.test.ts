import { type CompiledQuery, Kysely, MysqlDialect, PostgresDialect, sql } from "kysely";
import mysql from "mysql2";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate, openSqlite, type PortcullisTables, SqlTokenStore } from "portcullis/sql";
import { createTable } from "../../../src/stores/sql/ddl.js";
import type { SqlEngine } from "../../../src/stores/sql/engines.js";
import { SCHEMA_TABLE, STEPS } from "../../../src/stores/sql/tables.js";
import { sampleToken } from "../../../src/testing/samples.js";
import { mariaDbDatabase, postgresDatabase } from "../../support/servers.js";

type Database = Kysely<PortcullisTables>;

const ENGINES: { name: string; engine: SqlEngine; open(log: (query: CompiledQuery) => void): Promise<Database> }[] = [
  { name: "SQLite", engine: "sqlite", open: async () => (await openSqlite("sqlite::memory:")).db },
  {
    name: "PostgreSQL",
    engine: "postgres",
    open: async (log) =>
      new Kysely({
        dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: await postgresDatabase(), max: 2 }) }),
        log: ({ query }) => log(query),
      }),
  },
  {
    name: "MariaDB",
    engine: "mysql",
    open: async (log) =>
      new Kysely({
        dialect: new MysqlDialect({
          pool: mysql.createPool({ uri: await mariaDbDatabase(), charset: "utf8mb4", connectionLimit: 2 }),
        }),
        log: ({ query }) => log(query),
      }),
  },
];

/** The step of the schema that lists families. */
const STEP = 6;

describe.each(ENGINES)("$name: families from before they could be listed", ({ engine, open }) => {
  let db: Database;
  beforeAll(async () => {
    db = await open(() => undefined);
  });
  afterAll(() => db.destroy());

  const run = async (statements: readonly string[]): Promise<void> =>
    db.connection().execute(async (connection) => {
      for (const statement of statements) await sql.raw(statement).execute(connection);
    });

  test("get their times from their tokens, and the step may be repeated where a crash can interrupt it", async () => {
    await run(createTable(engine, SCHEMA_TABLE));
    for (let step = 0; step < STEP; step += 1) {
      await run(STEPS[step]?.(engine) ?? []);
      await run([`insert into portcullis_schema (version, applied_at) values (${step + 1}, 0)`]);
    }
    const end = 4_000_000_000_000;
    const columns = "id, hash, family_id, subject, scopes, roles, claims, issued_at, expires_at, family_expires_at";
    const token = (id: string, issued: number) =>
      `insert into portcullis_refresh_tokens (${columns}) values ('${id}', 'h', 'f1', 'ada', '[]', '[]', '{}', ${issued}, ${end + issued}, ${end + 9000})`;
    await run([
      `insert into portcullis_token_families (id, subject, expires_at) values ('f1', 'ada', ${end + 9000})`,
      token("t1", 1000),
      token("t2", 2000),
    ]);
    await migrate(db);
    if (engine === "mysql") await run(STEPS[STEP]?.(engine) ?? []);
    const store = new SqlTokenStore(db);
    await store.init();
    const family = {
      id: "f1",
      subject: "ada",
      label: null,
      createdAt: 1000,
      lastUsedAt: 2000,
      expiresAt: end + 2000,
      endsAt: end + 9000,
    };
    expect(await store.familiesOf("ada", 5000, { limit: 10 })).toEqual([family]);
    expect(await store.findFamily("f1")).toEqual(family);
    expect((await store.get("t2"))?.claims).toEqual({});
    const next = sampleToken({
      id: "t3",
      familyId: "f1",
      subject: "ada",
      expiresAt: end + 3000,
      familyExpiresAt: end + 9000,
    });
    expect(await store.rotate("t2", 3000, next, "sealed")).toBe(true);
    expect(await store.findFamily("f1")).toEqual({ ...family, lastUsedAt: 3000, expiresAt: end + 3000 });
  });

  test("that a process of the older version begins meanwhile are found by their id, and can be ended", async () => {
    await run(["insert into portcullis_token_families (id, subject, expires_at) values ('f2', 'bob', 4000000000000)"]);
    const store = new SqlTokenStore(db);
    await store.init();
    expect(await store.familiesOf("bob", 5000, { limit: 10 })).toEqual([]);
    expect(await store.findFamily("f2")).toMatchObject({ id: "f2", subject: "bob", expiresAt: 4_000_000_000_000 });
    expect(await store.revokeFamily("f2", 1)).toBe(true);
  });
});

const FAMILIES = 20_000;
const PLANS = {
  sqlite: { explain: "explain query plan ", bad: /SCAN|TEMP B-TREE/, good: /portcullis_families_in_force/ },
  postgres: { explain: "explain ", bad: /Seq Scan|Sort/, good: /portcullis_families_in_force/ },
  mysql: { explain: "explain ", bad: /filesort|"ALL"/, good: /portcullis_families_in_force/ },
} as const;

describe.each(ENGINES)("$name: a subject with many families", ({ engine, open }) => {
  const seen: CompiledQuery[] = [];
  let db: Database;
  beforeAll(async () => {
    db = await open((query) => void seen.push(query));
    await migrate(db);
    const row = (n: number) => `('family-${n}', 'ada', 5000000000000, ${n}, ${n}, 4000000000000)`;
    const others = (n: number) => `('other-${n}', 'user-${n}', 5000000000000, ${n}, ${n}, 4000000000000)`;
    for (let from = 0; from < FAMILIES; from += 1000) {
      const rows = Array.from({ length: 1000 }, (_, n) => `${row(from + n)}, ${others(from + n)}`);
      await sql
        .raw(
          `insert into portcullis_token_families (id, subject, expires_at, created_at, last_used_at, idle_ends_at) values ${rows.join(", ")}`,
        )
        .execute(db);
    }
    // Half of hers were ended one by one.
    await sql
      .raw("update portcullis_token_families set revoked_at = 1 where subject = 'ada' and created_at >= 10000")
      .execute(db);
    const analyse = { sqlite: "analyze", postgres: "analyze", mysql: "analyze table portcullis_token_families" };
    await sql.raw(analyse[engine]).execute(db);
  });
  afterAll(() => db.destroy());

  test("a page comes from one index, already in order, and skips those that were ended", async () => {
    const store = new SqlTokenStore(db);
    await store.init();
    for (const after of [undefined, "family-5000", "family-2000"]) {
      seen.length = 0;
      const page = await store.familiesOf("ada", 0, { limit: 50, ...(after !== undefined && { after }) });
      const start = after === undefined ? 10_000 : Number(after.slice(7));
      expect(page.map(({ createdAt }) => createdAt)).toEqual(Array.from({ length: 50 }, (_, n) => start - 1 - n));
      const query = seen.at(-1);
      if (engine === "sqlite" || query === undefined) continue;
      const { rows } = await db.executeQuery({ ...query, sql: `${PLANS[engine].explain}${query.sql}` });
      const plan = JSON.stringify(rows);
      expect(plan).toMatch(PLANS[engine].good);
      expect(plan).not.toMatch(PLANS[engine].bad);
    }
  });
});
