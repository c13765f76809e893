import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import { afterAll, describe, expect, test } from "vitest";
import {
  openMysql,
  openPostgres,
  openSqlite,
  type PortcullisDatabase,
  SCHEMA_VERSION,
  SqlApiKeyStore,
  SqlTokenStore,
} from "portcullis/sql";
import { sampleKey, sampleToken } from "../../../src/testing/samples.js";
import { mariaDbDatabase, postgresDatabase } from "../../support/servers.js";
import { runChild } from "../children.js";
import { program } from "../../support/programs.js";

const folder = mkdtempSync(join(tmpdir(), "portcullis-many-"));
afterAll(() => rmSync(folder, { recursive: true }));

const CHILD = await program("sql/starting-child");
const TEN = Array.from({ length: 10 }, (_, index) => `p${index}`);

interface Opened {
  readonly db: PortcullisDatabase;
  close(): Promise<void>;
}

const ENGINES: { engine: string; newDatabase: () => Promise<string>; open: (url: string) => Promise<Opened> }[] = [
  { engine: "SQLite", newDatabase: async () => `sqlite:${join(folder, "shared.db")}`, open: openSqlite },
  { engine: "PostgreSQL", newDatabase: postgresDatabase, open: (url) => openPostgres(url, { timeoutMs: 10_000 }) },
  { engine: "MariaDB", newDatabase: mariaDbDatabase, open: (url) => openMysql(url, { timeoutMs: 10_000 }) },
];

describe.each(ENGINES)("$engine", ({ engine, newDatabase, open }) => {
  test("ten processes start on a new database and write to it at once", async () => {
    const url = await newDatabase();
    const go = join(folder, `go-${engine}`);
    const said = { loaded: 0, ready: 0 };
    let tellAllReady = () => {};
    const allReady = new Promise<void>((resolve) => (tellAllReady = resolve));
    const children = TEN.map((name) =>
      runChild(CHILD, [url, name, go], {
        onLine: (line) => {
          if (line === "loaded" && (said.loaded += 1) === TEN.length) writeFileSync(go, "");
          if (line === "ready" && (said.ready += 1) === TEN.length) tellAllReady();
        },
      }),
    );
    const ended = Promise.all(children.map((child) => child.ended));
    // One that fails to start ends early; the assertion below then shows why instead of waiting for the others.
    await Promise.race([allReady, ...children.map((child) => child.ended)]);
    writeFileSync(go, "");

    const { db, close } = await open(url);
    const keys = new SqlApiKeyStore(db);
    const tokens = new SqlTokenStore(db);
    await tokens.init();
    await keys.insert(sampleKey({ id: "shared", usageCount: 0 }));
    await tokens.insert(sampleToken({ id: "shared", familyId: "shared" }));
    const results = await ended;
    expect(results.map(({ code, err }) => [code, err])).toEqual(TEN.map(() => [0, ""]));

    // The schema was made once.
    const versions = await db.selectFrom("portcullis_schema").select("version").orderBy("version").execute();
    expect(versions.map(({ version }) => Number(version))).toEqual(
      Array.from({ length: SCHEMA_VERSION }, (_, index) => index + 1),
    );
    // No write was lost.
    for (const name of TEN)
      for (let n = 0; n < 10; n += 1) expect((await keys.get(`${name}-${n}`))?.id).toBe(`${name}-${n}`);
    // Of a hundred rotations of one key, and of one token, one won each, and only its successor is there.
    const wins = results.map(
      ({ out }) => JSON.parse(out.trim().split("\n").at(-1) ?? "") as { keys: string[]; tokens: string[] },
    );
    const keyWinners = wins.flatMap((won) => won.keys);
    const tokenWinners = wins.flatMap((won) => won.tokens);
    expect([keyWinners.length, tokenWinners.length]).toEqual([1, 1]);
    expect(await keys.get("shared")).toMatchObject({ usageCount: 100, rotatedTo: `next-of-${keyWinners[0]}` });
    expect((await tokens.get("shared"))?.successorId).toBe(`token-of-${tokenWinners[0]}`);
    const losers = TEN.flatMap((name) => Array.from({ length: 10 }, (_, index) => `${name}-${index}`)).filter(
      (by) => by !== tokenWinners[0],
    );
    for (const by of losers.slice(0, 30)) expect(await tokens.get(`token-of-${by}`)).toBeUndefined();
    const made = await db
      .selectFrom("portcullis_refresh_tokens")
      .select((eb) => eb.fn.countAll().as("count"))
      .executeTakeFirstOrThrow();
    expect(Number(made.count)).toBe(2);
    const keyCount = await db
      .selectFrom("portcullis_api_keys")
      .select((eb) => eb.fn.countAll().as("count"))
      .executeTakeFirstOrThrow();
    expect(Number(keyCount.count)).toBe(102);
    await close();
  }, 60_000);
});

test("processes that start while another has locked the new SQLite file wait for it, longer than a write does", async () => {
  const url = `sqlite:${join(folder, "locked.db")}`;
  const go = join(folder, "go-locked");
  const { db, close } = await openSqlite(url);
  const waiting = ["p0", "p1", "p2"];
  let ready = 0;
  let children: ReturnType<typeof runChild>[] = [];
  await db.connection().execute(async (connection) => {
    await sql`begin immediate`.execute(connection);
    let loaded = 0;
    await new Promise<void>((resolve) => {
      children = waiting.map((name) =>
        runChild(CHILD, [url, name, go], {
          onLine: (line) => {
            if (line === "loaded" && (loaded += 1) === waiting.length) resolve();
            if (line === "ready") ready += 1;
          },
        }),
      );
    });
    writeFileSync(go, "");
    await sleep(7000);
    expect(ready).toBe(0);
    await sql`rollback`.execute(connection);
  });
  await expect.poll(() => ready, { timeout: 20_000 }).toBe(waiting.length);
  await new SqlTokenStore(db).insert(sampleToken({ id: "shared", familyId: "shared" }));
  await new SqlApiKeyStore(db).insert(sampleKey({ id: "shared", usageCount: 0 }));
  const results = await Promise.all(children.map(({ ended }) => ended));
  expect(results.map(({ code, err }) => [code, err])).toEqual(waiting.map(() => [0, ""]));
  await close();
}, 60_000);
