import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "kysely";
import {
  openPostgres,
  openSqlite,
  type PortcullisDatabase,
  SqlCredentialStore,
  SqlSingleUseStore,
} from "portcullis/sql";
import { openRedis, RedisSingleUseStore } from "portcullis/redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Guarded } from "../../../src/accounts/guarded.js";
import type { SecurityEvent } from "../../../src/core/events.js";
import { createRuntime, type Runtime } from "../../../src/core/runtime.js";
import type { CredentialStore, SingleUseStore } from "../../../src/stores/contracts.js";
import { faultOf } from "../../../src/stores/health/store-fault.js";
import { recordId, sampleCredential, sampleRecord } from "../../../src/testing/credential-samples.js";
import { postgresDatabase, sharedRedis, uniqueName } from "../../support/servers.js";

const folder = mkdtempSync(join(tmpdir(), "portcullis-account-faults-"));
afterAll(() => rmSync(folder, { recursive: true }));

const REFUSED = "PORTCULLIS_STORE_UNAVAILABLE";
const TIMEOUT_MS = 250;

interface Opened {
  readonly db: PortcullisDatabase;
  readonly slowDb?: PortcullisDatabase;
  close(): Promise<void>;
}

interface Engine {
  readonly engine: string;
  readonly newUrl: () => Promise<string>;
  readonly open: (url: string) => Promise<Opened>;
  /** Keeps both tables locked, on a connection of its own, while `work` runs. */
  readonly locked: (db: PortcullisDatabase, work: () => Promise<void>) => Promise<void>;
}

const ENGINES: readonly Engine[] = [
  {
    engine: "SQLite",
    newUrl: async () => `sqlite:${join(folder, "accounts.db")}`,
    open: openSqlite,
    locked: (db, work) =>
      db.connection().execute(async (connection) => {
        await sql`begin immediate`.execute(connection);
        await work();
        await sql`rollback`.execute(connection);
      }),
  },
  {
    engine: "PostgreSQL",
    newUrl: postgresDatabase,
    open: (url) => openPostgres(url, { timeoutMs: 5000 }),
    locked: (db, work) =>
      db.transaction().execute(async (transaction) => {
        await sql`lock table portcullis_credentials, portcullis_single_use in share row exclusive mode`.execute(
          transaction,
        );
        await work();
      }),
  },
];

const outcome = async (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    (value) => value ?? "done",
    (error: { code?: string }) => error.code,
  );

describe.each(ENGINES)("accounts on $engine", ({ newUrl, open, locked }) => {
  let opened: Opened;
  let other: Opened;
  let runtime: Runtime;
  const events: SecurityEvent[] = [];
  let credentials: Guarded<CredentialStore>;
  let singleUse: Guarded<SingleUseStore>;

  /** The events since the last call, by name, source and reason. */
  const news = (): string[] => events.splice(0).map(({ event, source, reason }) => `${event} ${source} ${reason}`);
  const add = (id: string): Promise<boolean> =>
    credentials.write((store, call) => store.change(id, { insert: [sampleCredential({ id, ownerId: id })] }, call), id);
  const list = (id: string) => credentials.read((store) => store.listOf(id), id);
  const take = (name: string) =>
    singleUse.write((store, call) => store.take("log-in", recordId(name), Date.now(), call), "user-1");
  const put = (name: string) => singleUse.write((store, call) => store.put(sampleRecord(name), call), "user-1");

  beforeAll(async () => {
    const url = await newUrl();
    [opened, other] = await Promise.all([open(url), open(url)]);
    runtime = createRuntime();
    runtime.events.on("*", (event) => events.push(event));
    const { db, slowDb } = opened;
    const stores = [new SqlCredentialStore(db, { slowDb }), new SqlSingleUseStore(db, { slowDb })] as const;
    for (const store of stores) await store.init();
    credentials = new Guarded("credential", stores[0], runtime, TIMEOUT_MS);
    singleUse = new Guarded("single-use", stores[1], runtime, TIMEOUT_MS);
  });
  afterAll(async () => {
    await Promise.all([opened?.close(), other?.close()]);
  });

  test("a write that is late is refused, and is not done afterwards", async () => {
    expect(await add("late")).toBe(true);
    await put("late");
    await locked(other.db, async () => {
      const began = performance.now();
      const calls = [
        credentials.write((store, call) => store.change("late", { removeKinds: ["totp"] }, call), "late"),
        credentials.write((store, call) => store.advance("late", Number.MAX_SAFE_INTEGER, 5, call), "late"),
        credentials.write((store, call) => store.addFailure("late", call), "late"),
        put("later"),
        take("late"),
      ];
      expect(await Promise.all(calls.map(outcome))).toEqual(calls.map(() => REFUSED));
      expect(performance.now() - began).toBeLessThan(4 * TIMEOUT_MS);
    });
    await expect
      .poll(() => outcome(list("late")), { timeout: 5000 })
      .toEqual([sampleCredential({ id: "late", ownerId: "late" })]);
    await expect.poll(() => outcome(put("again")), { timeout: 5000 }).toBe("done");
    expect(await take("later")).toBeUndefined();
    expect(await outcome(take("late"))).toMatchObject({ id: recordId("late") });
    news();
  });

  test("a record that is damaged, or of a newer version, is refused alone: nobody else notices", async () => {
    const damages: Record<string, string | number>[] = [
      { data: "{" },
      { data: "[1]" },
      { data: "null" },
      { kind: "Kind of 2.0" },
      { counter: "9007199254740993" },
    ];
    await add("good");
    for (const [n, damage] of damages.entries()) {
      const id = `bad-${n}`;
      await add(id);
      await other.db.updateTable("portcullis_credentials").set(damage).where("id", "=", id).execute();
      const error = await list(id).catch((reason: unknown) => reason);
      expect([faultOf(error), (error as { code?: string }).code]).toEqual(["record", REFUSED]);
      expect(await outcome(list("good"))).toMatchObject([{ id: "good" }]);
    }
    // What is needed to help the person works without reading the record.
    expect(await credentials.write((store) => store.change("bad-0", { remove: ["bad-0"] }), "bad-0")).toBe(true);
    expect(await list("bad-0")).toEqual([]);
    await put("bad");
    await other.db.updateTable("portcullis_single_use").set({ data: "{" }).where("id", "=", recordId("bad")).execute();
    expect(faultOf(await take("bad").catch((reason: unknown) => reason))).toBe("record");
    await put("good");
    expect(await outcome(take("good"))).toMatchObject({ id: recordId("good") });
    expect(news().filter((line) => line.startsWith("portcullis_store_unavailable"))).toEqual([]);
  });

  test("a value that the store cannot keep, and a full share, are faults of that call alone", async () => {
    const wrong = sampleCredential({ id: "wrong", ownerId: "wrong", name: "a\0b" });
    const refused = await credentials
      .write((store) => store.change("wrong", { insert: [wrong] }), "wrong")
      .catch(String);
    expect(refused).toContain("StoreUnavailableError");
    const many = Array.from({ length: 101 }, (_, n) => sampleCredential({ id: `many-${n}`, ownerId: "many" }));
    const full = await credentials
      .write((store, call) => store.change("many", { insert: many }, call), "many")
      .catch((reason: unknown) => reason);
    expect(faultOf(full)).toBe("share");
    expect(await list("many")).toEqual([]);
    expect(news().filter((line) => line.startsWith("portcullis_store_unavailable"))).toEqual([]);
  });

  test("a store that fails is announced by its name, refuses everything, and comes back by itself", async () => {
    await other.db.schema.alterTable("portcullis_credentials").renameTo("elsewhere").execute();
    expect([await outcome(add("x")), await outcome(list("good"))]).toEqual([REFUSED, REFUSED]);
    expect(news()).toEqual([
      expect.stringMatching(/^portcullis_store_unavailable credential (?:(?:ERR_)?SQLITE_ERROR|42P01)$/),
    ]);
    await put("meanwhile");
    expect(await outcome(take("meanwhile"))).toMatchObject({ id: recordId("meanwhile") });
    await other.db.schema.alterTable("elsewhere").renameTo("portcullis_credentials").execute();
    await expect.poll(() => outcome(list("good")), { timeout: 5000 }).toMatchObject([{ id: "good" }]);
    expect(await add("x")).toBe(true);
    // Only a call that is let through as a probe ends the outage.
    const isBack = async (): Promise<boolean> => {
      await list("good");
      return events.some(({ event, source }) => event === "portcullis_store_recovered" && source === "credential");
    };
    await expect.poll(isBack, { timeout: 5000 }).toBe(true);
  });
});

describe("single-use records on Redis", () => {
  test("a value that is damaged is refused alone, and is gone once taken", async () => {
    const redis = openRedis((await sharedRedis()).url);
    const prefix = `${uniqueName()}:`;
    const runtime = createRuntime();
    const events: string[] = [];
    runtime.events.on("*", ({ event }) => events.push(event));
    const store = new RedisSingleUseStore({ client: redis, prefix });
    const guarded = new Guarded("single-use", store, runtime, 2000);
    for (const [n, value] of [
      "{",
      "[]",
      "7",
      '"text"',
      "{}",
      '{"ownerId":"a","expiresAt":"soon","data":{}}',
    ].entries()) {
      const id = recordId(`bad-${n}`);
      await redis.command("SET", `${prefix}single-use:log-in:{${id}}`, value, "PX", "60000");
      for (const call of [() => store.get("log-in", id, 1), () => store.take("log-in", id, 1)])
        expect(faultOf(await call().catch((reason: unknown) => reason)), value).toBe("record");
      expect(await store.get("log-in", id, 1)).toBeUndefined();
    }
    await guarded.write((one, call) => one.put(sampleRecord("good"), call), "user-1");
    const taken = guarded.write((one, call) => one.take("log-in", recordId("good"), Date.now(), call), "user-1");
    expect(await taken).toMatchObject({ id: recordId("good"), ownerId: "user-1" });
    expect(events).toEqual([]);
    await guarded.close();
    await redis.close();
  });

  test("every key expires", async () => {
    const redis = openRedis((await sharedRedis()).url);
    const prefix = `${uniqueName()}:`;
    const store = new RedisSingleUseStore({ client: redis, prefix });
    for (let n = 0; n < 12; n += 1) await store.put(sampleRecord(`n${n}`, { expiresAt: Date.now() + 60_000 + n }));
    const keys = (await redis.command("KEYS", `${prefix}*`)) as string[];
    expect(keys).toHaveLength(11);
    for (const key of keys) {
      const life = Number(await redis.command("PTTL", key));
      expect(life).toBeGreaterThan(0);
      expect(life).toBeLessThanOrEqual(60_012);
    }
    await redis.close();
  });
});
