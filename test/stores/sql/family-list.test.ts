import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { engineOf, migrate, type PortcullisDatabase, SqlTokenStore } from "portcullis/sql";
import { createTable } from "../../../src/stores/sql/ddl.js";
import type { SqlEngine } from "../../../src/stores/sql/engines.js";
import { SCHEMA_TABLE, STEPS } from "../../../src/stores/sql/tables.js";
import { sampleToken } from "../../../src/testing/samples.js";
import { FILLED_ENGINES, type OpenedDatabase } from "./filled-engines.js";
import { LastStatement } from "./reads.js";

/** The steps of the schema that list families, and that list those of a subject that was cut off. */
const STEP = 6;
const MARK_STEP = 9;

/** Over one connection, which has the variables of MySQL. */
async function run(db: PortcullisDatabase, statements: readonly string[]): Promise<void> {
  await db.connection().execute(async (connection) => {
    for (const statement of statements) await sql.raw(statement).execute(connection);
  });
}

/** Brings a database without our tables to a version of the schema. */
async function build(db: PortcullisDatabase, engine: SqlEngine, version: number): Promise<void> {
  await run(db, createTable(engine, SCHEMA_TABLE));
  for (let step = 0; step < version; step += 1) {
    await run(db, STEPS[step]?.(engine) ?? []);
    await run(db, [`insert into portcullis_schema (version, applied_at) values (${step + 1}, 0)`]);
  }
}

describe.each(FILLED_ENGINES)("$engine: families from before they could be listed", ({ open }) => {
  let opened: OpenedDatabase;
  let db: PortcullisDatabase;
  let engine: SqlEngine;
  beforeAll(async () => {
    opened = await open();
    db = opened.slowDb;
    engine = await engineOf(db);
  });
  afterAll(() => opened.close());

  test("get their times from their tokens, and the step may be repeated where a crash can interrupt it", async () => {
    await build(db, engine, STEP);
    const end = 4_000_000_000_000;
    const columns = "id, hash, family_id, subject, scopes, roles, claims, issued_at, expires_at, family_expires_at";
    const token = (id: string, issued: number) =>
      `insert into portcullis_refresh_tokens (${columns}) values ('${id}', 'h', 'f1', 'ada', '[]', '[]', '{}', ${issued}, ${end + issued}, ${end + 9000})`;
    await run(db, [
      `insert into portcullis_token_families (id, subject, expires_at) values ('f1', 'ada', ${end + 9000})`,
      token("t1", 1000),
      token("t2", 2000),
    ]);
    await migrate(db);
    if (engine === "mysql") await run(db, STEPS[STEP]?.(engine) ?? []);
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
    await run(db, [
      "insert into portcullis_token_families (id, subject, expires_at) values ('f2', 'bob', 4000000000000)",
    ]);
    const store = new SqlTokenStore(db);
    await store.init();
    expect(await store.familiesOf("bob", 5000, { limit: 10 })).toEqual([]);
    expect(await store.findFamily("f2")).toMatchObject({ id: "f2", subject: "bob", expiresAt: 4_000_000_000_000 });
    expect(await store.revokeFamily("f2", 1)).toBe(true);
  });
});

const INDEXES = {
  sqlite: "select name from sqlite_master where type = 'index' and tbl_name = 'portcullis_token_families'",
  postgres: "select indexname as name from pg_indexes where tablename = 'portcullis_token_families'",
  mysql:
    "select distinct index_name as name from information_schema.statistics where table_schema = database() and table_name = 'portcullis_token_families'",
};

test.each(FILLED_ENGINES)("$engine: families of version 9 are listed as before, by another index", async ({ open }) => {
  const { db, slowDb, close } = await open();
  onTestFinished(() => close());
  const engine = await engineOf(db);
  await build(slowDb, engine, MARK_STEP);
  const family = (id: string, subject: string, mark: string | null, revokedAt: number | null = null) =>
    `('${id}', '${subject}', 5000000000000, ${revokedAt}, ${mark === null ? "null" : `'${mark}'`}, ${id.slice(1)}, 1, 5000000000000)`;
  await run(slowDb, [
    "insert into portcullis_subject_marks (subject, mark, revoked_at, ends_at) values ('ada', 'last', 1, 5000000000000)",
    `insert into portcullis_token_families (id, subject, expires_at, revoked_at, subject_mark, created_at, last_used_at, idle_ends_at) values ${[
      family("f1", "ada", null),
      family("f2", "ada", "first"),
      family("f3", "ada", "last"),
      family("f4", "ada", "last", 7),
      family("f5", "ada", "last"),
      // The mark of these was deleted when no family needed it any more.
      family("f6", "bob", "deleted"),
      family("f7", "bob", "deleted", 7),
      family("f8", "bob", null),
    ].join(", ")}`,
  ]);
  const indexes = async () => {
    const { rows } = await sql<{ name: string }>`${sql.raw(INDEXES[engine])}`.execute(slowDb);
    return rows.map(({ name }) => name).filter((name) => name.startsWith("portcullis_families_"));
  };
  const step = STEPS[MARK_STEP]?.(engine) ?? [];
  // On MySQL a crash may leave the first half of the step behind.
  if (engine === "mysql") await run(slowDb, step.slice(0, step.length / 2));
  await migrate(slowDb);
  if (engine === "mysql") await run(slowDb, step);
  expect((await indexes()).sort()).toEqual(
    ["by_end", "by_mark", "in_force"].map((name) => `portcullis_families_${name}`),
  );
  const store = new SqlTokenStore(db, { slowDb });
  await store.init();
  const listed = async (subject: string) => (await store.familiesOf(subject, 5, { limit: 10 })).map(({ id }) => id);
  expect(await listed("ada")).toEqual(["f5", "f3"]);
  expect(await listed("bob")).toEqual(["f8", "f6"]);
  await store.revokeSubject("bob", 9, 5_000_000_000_000);
  expect(await listed("bob")).toEqual([]);
});

const FAMILIES = 20_000;
const LIMIT = 50;
const NO_ORDER = /SCAN|TEMP B-TREE|Seq Scan|Sort|filesort|"ALL"/;

/** Families of a subject that began at consecutive times. */
interface Run {
  readonly from: number;
  readonly to: number;
  readonly mark: string | null;
  readonly revokedAt?: number;
  /** Milliseconds from one to the next. 1 by default. */
  readonly every?: number;
}

/** The times from the last to the first. */
const backwards = (from: number, to: number, every = 1) =>
  Array.from({ length: to - from + 1 }, (_, n) => (to - n) * every);

const SUBJECTS: readonly { subject: string; mark: string | null; runs: Run[]; inForce: number[] }[] = [
  {
    subject: "never cut off, half ended one by one",
    mark: null,
    runs: [
      { from: 1, to: 10_000, mark: null },
      { from: 10_001, to: FAMILIES, mark: null, revokedAt: 1 },
    ],
    inForce: backwards(1, 10_000),
  },
  { subject: "all cut off", mark: "one", runs: [{ from: 1, to: FAMILIES, mark: null }], inForce: [] },
  {
    subject: "all cut off, and newer ones",
    mark: "two",
    runs: [
      { from: 1, to: FAMILIES, mark: null },
      { from: FAMILIES + 1, to: FAMILIES + 80, mark: "two" },
    ],
    inForce: backwards(FAMILIES + 1, FAMILIES + 80),
  },
  {
    subject: "cut off twice, a third of the rest ended one by one, and some among all these",
    mark: "three",
    runs: [
      { from: 1, to: 6000, mark: null },
      { from: 6001, to: 12_000, mark: "earlier" },
      { from: 12_001, to: FAMILIES, mark: "three", revokedAt: 1 },
      { from: 1, to: 120, mark: "three", every: 150 },
    ],
    inForce: backwards(1, 120, 150),
  },
];

describe.each(FILLED_ENGINES)("$engine: subjects with 20 000 families", ({ engine, open, numbers, text }) => {
  const last = new LastStatement();
  let opened: OpenedDatabase;
  let store: SqlTokenStore;
  const execute = (statement: string) => sql.raw(statement).execute(opened.slowDb);
  const quoted = (value: string | null) => (value === null ? "null" : `'${value}'`);

  beforeAll(async () => {
    opened = await open();
    await migrate(opened.slowDb);
    const columns = "id, subject, expires_at, idle_ends_at, subject_mark, revoked_at, created_at, last_used_at";
    for (const { subject, mark, runs } of SUBJECTS) {
      if (mark !== null)
        await execute(
          `insert into portcullis_subject_marks (subject, mark, revoked_at, ends_at) values ('${subject}', '${mark}', 1, 5000000000000)`,
        );
      for (const { from, to, mark: began, revokedAt, every = 1 } of runs)
        await execute(
          `insert into portcullis_token_families (${columns}) select ${text(`${subject} ${every}`)}, '${subject}', 5000000000000, 4000000000000, ${quoted(began)}, ${revokedAt ?? "null"}, n * ${every}, n * ${every} from ${numbers(from, to)}`,
        );
    }
    await execute(
      `insert into portcullis_token_families (${columns}) select ${text("other")}, ${text("user")}, 5000000000000, 4000000000000, null, null, n, n from ${numbers(1, FAMILIES)}`,
    );
    const analyse = { sqlite: "analyze", postgres: "analyze", mysql: "analyze table portcullis_token_families" };
    await execute(analyse[await engineOf(opened.db)]);
    store = new SqlTokenStore(opened.db.withPlugin(last), { slowDb: opened.slowDb });
    await store.init();
  });
  afterAll(() => opened.close());

  test.each(SUBJECTS)("$subject: a page reads as many rows as it has", async ({ subject, mark, runs, inForce }) => {
    const every = runs.at(-1)?.every ?? 1;
    // From the first page on, from the middle, from the end, and from a place that in some subjects is a family that has ended.
    const cursors = [undefined, inForce[LIMIT], inForce[inForce.length >> 1], inForce.at(-2), every * 40];
    for (const after of cursors) {
      const id = after === undefined ? undefined : `${subject} ${every}-${after / every}`;
      const page = await store.familiesOf(subject, 5, { limit: LIMIT, after: id });
      const expected = inForce.filter((at) => after === undefined || at < after).slice(0, LIMIT);
      expect(page.map(({ createdAt }) => createdAt)).toEqual(expected);
      const { plan, rows } = await last.reads(opened.db);
      expect(plan).toContain(mark === null ? "portcullis_families_in_force" : "portcullis_families_by_mark");
      // PostgreSQL may sort the rows of a short page.
      if (engine !== "PostgreSQL" || page.length === LIMIT) expect(plan).not.toMatch(NO_ORDER);
      if (rows !== undefined) expect(rows).toBeLessThan(LIMIT + 10);
    }
  });
});
