import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import mysql from "mysql2/promise";
import pg from "pg";
import {
  migrate,
  openMysql,
  openPostgres,
  openSqlite,
  type PortcullisDatabase,
  SqlChangeSource,
  SqlTokenStore,
} from "portcullis/sql";
import { createRuntime } from "../../../src/core/runtime.js";
import { ChangeFeed } from "../../../src/stores/revocations/change-feed.js";
import { ReplicatedTokenStore } from "../../../src/stores/revocations/replicated-token-store.js";
import type { Change } from "../../../src/stores/revocations/changes.js";
import {
  advance,
  begin,
  OVERLAP_MS,
  readPosition,
  startOf,
  writePosition,
} from "../../../src/stores/sql/change-position.js";
import { ManualClock } from "../../../src/testing/manual-clock.js";
import { mariaDbDatabase, postgresDatabase } from "../../support/servers.js";

const folder = mkdtempSync(join(tmpdir(), "portcullis-changes-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Opened {
  readonly db: PortcullisDatabase;
  close(): Promise<void>;
}

const ENGINES: { engine: string; newDatabase: () => Promise<string>; open: (url: string) => Promise<Opened> }[] = [
  { engine: "SQLite", newDatabase: async () => `sqlite:${join(folder, "shared.db")}`, open: openSqlite },
  { engine: "PostgreSQL", newDatabase: postgresDatabase, open: (url) => openPostgres(url, { timeoutMs: 5000 }) },
  { engine: "MariaDB", newDatabase: mariaDbDatabase, open: (url) => openMysql(url, { timeoutMs: 5000 }) },
];

const token = (name: string, endsAt = Date.now() + 60_000): Change => ({ kind: "token", name, endsAt });

describe.each(ENGINES)("$engine", ({ newDatabase, open }) => {
  let one: Opened;
  let two: Opened;
  beforeAll(async () => {
    const url = await newDatabase();
    one = await open(url);
    two = await open(url);
    await migrate(one.db);
  });
  afterAll(async () => {
    await one.close();
    await two.close();
  });

  test("a process reads what another recorded once, in order, however often it asks", async () => {
    const writer = new SqlChangeSource(one.db);
    const reader = new SqlChangeSource(two.db);
    await writer.record([token("before")]);
    const loaded = await reader.load();
    expect(loaded.changes).toContainEqual(expect.objectContaining({ name: "before" }));
    let { position } = loaded;
    // The rows of the moment before loading are told once more: one of them might have been invisible then.
    position = (await reader.since(position)).position;

    const end = Date.now() + 60_000;
    const changes: Change[] = [
      { kind: "token", name: "it's a 🏰", endsAt: end },
      { kind: "family", name: "f", endsAt: end },
      { kind: "subject", name: "s", cutOff: end - 5, endsAt: end },
      { kind: "api-key", name: "k" },
    ];
    await writer.record(changes);
    const first = await reader.since(position);
    expect(first).toMatchObject({ changes, gap: false });
    const second = await reader.since(first.position);
    expect(second.changes).toEqual([]);
    // A reading that was given up is asked for again from where the last one that counted ended.
    expect((await reader.since(position)).changes).toEqual(changes);
    for (const bad of ["", "[]", "17", "{}"]) expect(await reader.since(bad)).toMatchObject({ gap: true });
  });

  test("a denial is written again only when it is stricter than the recorded one", async () => {
    const source = new SqlChangeSource(one.db);
    const end = Date.now() + 60_000;
    const count = async () =>
      Number(
        (
          await one.db
            .selectFrom("portcullis_changes")
            .select((eb) => eb.fn.countAll().as("n"))
            .executeTakeFirstOrThrow()
        ).n,
      );
    const subject = (cutOff: number, endsAt: number): Change => ({ kind: "subject", name: "twice", cutOff, endsAt });
    const before = await count();
    await source.record([token("twice", end), subject(5, end)]);
    await source.record([token("twice", end - 1), subject(5, end), subject(4, end)]);
    expect((await count()) - before).toBe(2);
    await source.record([token("twice", end + 1), subject(6, end)]);
    expect((await count()) - before).toBe(4);
    await source.restore([{ kind: "token", name: "twice", endsAt: end }]);
    expect((await count()) - before).toBe(4);
  });

  test("all changes are read when there are more than a page holds", async () => {
    const writer = new SqlChangeSource(one.db);
    const reader = new SqlChangeSource(two.db);
    const { position } = await reader.load();
    const names = Array.from({ length: 2300 }, (_, index) => `many-${index}`);
    await writer.record(names.map((name) => token(name)));
    const told = (await reader.since(position)).changes.map(({ name }) => name);
    expect(told.filter((name) => name.startsWith("many-"))).toEqual(names);
    expect((await reader.load()).changes.length).toBeGreaterThanOrEqual(2300);
  });

  test("a token store with a change feed takes over what another process denied", async () => {
    const store = new SqlTokenStore(one.db);
    const feed = new ChangeFeed(store.changes, createRuntime(), { pollMs: 20 });
    const here = new ReplicatedTokenStore(store, feed, true);
    const there = new SqlTokenStore(two.db);
    await here.init();
    await there.init();
    const at = Date.now();
    await there.denyAccessToken("elsewhere", at + 60_000);
    await there.denyFamily("family-elsewhere", at + 60_000);
    await there.revokeSubject("subject-elsewhere", at, at + 60_000);
    const asked = [
      { jti: "elsewhere", subject: "someone", issuedAt: at },
      { jti: "j", subject: "someone", issuedAt: at, familyId: "family-elsewhere" },
      { jti: "j", subject: "subject-elsewhere", issuedAt: at - 1 },
    ];
    expect(asked.map((facts) => store.isRevoked(facts))).toEqual([false, false, false]);
    await expect.poll(() => asked.map((facts) => here.isRevoked(facts))).toEqual([true, true, true]);
    await feed.close();
  });
});

/** Two transactions that take numbers in one order and commit in the other. */
const LATE = [
  {
    engine: "PostgreSQL",
    newDatabase: postgresDatabase,
    open: openPostgres,
    async transaction(url: string) {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      return { run: async (text: string) => void (await client.query(text)), end: () => client.end() };
    },
  },
  {
    engine: "MariaDB",
    newDatabase: mariaDbDatabase,
    open: openMysql,
    async transaction(url: string) {
      const client = await mysql.createConnection(url);
      return { run: async (text: string) => void (await client.query(text)), end: () => client.end() };
    },
  },
];

test.each(LATE)(
  "$engine: a change that commits late with an earlier number is read",
  async ({ newDatabase, open, transaction }) => {
    const url = await newDatabase();
    const { db, close } = await open(url, { timeoutMs: 5000 });
    await migrate(db);
    const clock = new ManualClock();
    const source = new SqlChangeSource(db, { clock });
    let { position } = await source.load();
    const slow = await transaction(url);
    await slow.run("begin");
    await slow.run(
      `insert into portcullis_changes (kind, name, cut_off, ends_at) values ('token', 'slow', 0, ${Date.now() + 60_000})`,
    );
    const names = async () => {
      const batch = await source.since(position);
      position = batch.position;
      return batch.changes.map(({ name }) => name);
    };
    await source.record([token("fast")]);
    expect(await names()).toEqual(["fast"]);
    // Read over and over, in the meantime and after, as a feed does.
    for (let n = 0; n < 10; n += 1) {
      clock.advance(2000);
      expect(await names()).toEqual([]);
    }
    await slow.run("commit");
    await slow.end();
    expect(await names()).toEqual(["slow"]);
    expect(await names()).toEqual([]);
    await close();
  },
);

test("each change that becomes visible within the overlap is reported once, whatever the order of commits", () => {
  const change = fc.record({
    at: fc.integer({ min: 0, max: 120_000 }),
    delay: fc.integer({ min: 0, max: OVERLAP_MS }),
  });
  fc.assert(
    fc.property(
      fc.array(change, { minLength: 1, maxLength: 60 }),
      fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 200 }),
      (given, pauses) => {
        // Numbers in the order of time; each visible after its own delay.
        const rows = given
          .sort((a, b) => a.at - b.at)
          .map(({ at, delay }, index) => ({ seq: index + 1, visible: at + delay }));
        let now = 0;
        let position = begin(0, now, now);
        const told: number[] = [];
        const readOnce = () => {
          const start = startOf(position);
          const seqs = rows.filter(({ seq, visible }) => seq > start && visible <= now).map(({ seq }) => seq);
          told.push(...seqs.filter((seq) => !position.returned.some(([told]) => told === seq)));
          position =
            readPosition(
              writePosition(
                advance(
                  position,
                  seqs.map((seq) => [seq, "row"] as const),
                  now,
                  now,
                  now,
                ),
              ),
            ) ?? position;
        };
        for (const pause of pauses) {
          now += pause;
          readOnce();
        }
        for (let left = 0; left < 80; left += 1) {
          now += 2500;
          readOnce();
        }
        expect(told.sort((a, b) => a - b)).toEqual(rows.map(({ seq }) => seq));
        expect(position.marks.length).toBeLessThan(40);
      },
    ),
    { numRuns: 300 },
  );
});
