import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import mysql from "mysql2/promise";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { openMysql, openPostgres, SqlApiKeyStore, SqlTokenStore, type OpenedServer } from "portcullis/sql";
import { classifyDriverError } from "../../../src/stores/health/driver-errors.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { openDatabase } from "../../../src/stores/database/open-database.js";
import { sampleKey, sampleToken } from "../../../src/testing/samples.js";
import { type RunningServer, startMariaDb, startPostgres } from "../../support/servers.js";
import { startTcpProxy } from "../../support/tcp-proxy.js";

const TIMEOUT_MS = 300;
/** Getting a connection and one statement may each take the time, on a machine that does other things too. */
const SOON_MS = 2 * TIMEOUT_MS + 400;

interface Session {
  run(statement: string): Promise<Record<string, unknown>[]>;
  end(): Promise<void>;
}

const ENGINES = [
  {
    engine: "PostgreSQL",
    start: startPostgres,
    open: openPostgres,
    poolOf: (name: string) =>
      `select pid as id from pg_stat_activity where application_name = 'portcullis' and datname = '${name}'`,
    terminate: (id: unknown) => `select pg_terminate_backend(${String(id)})`,
    async session(url: string): Promise<Session> {
      const client = new pg.Client({ connectionString: url });
      client.on("error", () => undefined);
      await client.connect();
      return {
        run: async (statement) => (await client.query<Record<string, unknown>>(statement)).rows,
        end: () => client.end(),
      };
    },
  },
  {
    engine: "MariaDB",
    start: startMariaDb,
    open: openMysql,
    poolOf: (name: string) =>
      `select id from information_schema.processlist where db = '${name}' and id <> connection_id()`,
    terminate: (id: unknown) => `kill connection ${String(id)}`,
    async session(url: string): Promise<Session> {
      const client = await mysql.createConnection(url);
      client.on("error", () => undefined);
      return {
        run: async (statement) => (await client.query(statement))[0] as unknown as Record<string, unknown>[],
        end: () => client.end(),
      };
    },
  },
] as const;

async function timed(work: () => Promise<unknown>): Promise<{ ms: number; error: unknown }> {
  const started = performance.now();
  const error = await work().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return { ms: performance.now() - started, error };
}

describe.each(ENGINES)("$engine", ({ engine, start, open, poolOf, terminate, session }) => {
  const rejections: unknown[] = [];
  const listen = (reason: unknown) => rejections.push(reason);
  let server: RunningServer;
  let opened: OpenedServer;
  let keys: SqlApiKeyStore;
  let tokens: SqlTokenStore;
  const databaseName = () => new URL(server.url).pathname.slice(1);

  beforeAll(async () => {
    process.on("unhandledRejection", listen);
    server = await start();
    opened = await open(server.url, { timeoutMs: TIMEOUT_MS });
    keys = new SqlApiKeyStore(opened.db, { slowDb: opened.slowDb });
    tokens = new SqlTokenStore(opened.db, { slowDb: opened.slowDb });
    await keys.init();
    await tokens.init();
  });
  afterEach(async () => {
    // Whatever a test did to the server, the stores are in order again shortly after.
    await expect.poll(async () => (await timed(() => keys.get("any"))).error, { timeout: 8000 }).toBeUndefined();
  });
  afterAll(async () => {
    await opened.close();
    await server.close();
    process.off("unhandledRejection", listen);
    expect(rejections).toEqual([]);
  });

  test("a server that stops answering causes errors in time, and is used again when it answers", async () => {
    await keys.insert(sampleKey({ id: "stopped" }));
    server.pause();
    try {
      const results = await Promise.all(Array.from({ length: 12 }, () => timed(() => keys.get("stopped"))));
      for (const { ms, error } of results) {
        expect(error).toMatchObject({ code: "PORTCULLIS_DATABASE_TIMEOUT" });
        expect(ms).toBeLessThan(SOON_MS);
      }
      const write = await timed(() => keys.revoke("stopped", 1, "x"));
      expect(write.error).toBeInstanceOf(Error);
      expect(write.ms).toBeLessThan(SOON_MS);
    } finally {
      server.resume();
    }
    await expect
      .poll(async () => (await keys.get("stopped").catch(() => undefined))?.id, { timeout: 8000 })
      .toBe("stopped");
  });

  test("an exhausted pool causes errors in time, and works once connections are free", async () => {
    await keys.insert(sampleKey({ id: "held" }));
    const other = await session(server.url);
    await other.run("begin");
    await other.run("update portcullis_api_keys set name = 'held' where id = 'held'");
    // Each of these waits for the row, and takes a connection while it does.
    const results = await Promise.all(
      Array.from({ length: 30 }, (_, index) => timed(() => keys.revoke("held", index + 1, "x"))),
    );
    for (const { ms, error } of results) {
      expect(error).toBeInstanceOf(Error);
      expect(ms).toBeLessThan(SOON_MS);
    }
    await other.run("commit");
    await other.end();
    // None of those that rejected is done after all.
    await sleep(100);
    expect((await keys.get("held"))?.revokedAt).toBeNull();
    expect(await keys.revoke("held", 5, "x")).toBe(true);
  });

  test("a connection terminated in the middle of a transaction is replaced, and the work done once", async () => {
    await tokens.insert(sampleToken({ id: "cut", familyId: "cut" }));
    const other = await session(server.url);
    await other.run("begin");
    await other.run("select id from portcullis_token_families where id = 'cut' for update");
    // Waits for the family's row.
    const rotating = tokens.rotate("cut", 1, sampleToken({ id: "after-cut", familyId: "cut" }), "sealed");
    await sleep(60);
    const watcher = await session(
      server.url.replace(/\/[^/]*$/, engine === "PostgreSQL" ? "/template1" : "/information_schema"),
    );
    const own =
      engine === "PostgreSQL" ? [] : (await other.run("select connection_id() as id")).map(({ id }) => String(id));
    const pool = (await watcher.run(poolOf(databaseName()))).filter(({ id }) => !own.includes(String(id)));
    expect(pool.length).toBeGreaterThan(1);
    for (const { id } of pool) await watcher.run(terminate(id));
    await other.run("commit");
    expect(await rotating).toBe(true);
    expect((await tokens.get("cut"))?.successorId).toBe("after-cut");
    expect(await tokens.rotate("cut", 1, sampleToken({ id: "again", familyId: "cut" }), "sealed")).toBe(false);
    // Idle ones that were terminated are gone from the pool: nothing fails from now on.
    for (let n = 0; n < 10; n += 1) expect((await tokens.get("cut"))?.id).toBe("cut");
    await other.end();
    await watcher.end();
  });

  test.each(["family", "subject"])(
    "a revocation of the %s waits for a rotation that has begun, and takes its successor too",
    async (what) => {
      const patient = await open(server.url, { timeoutMs: 5000 });
      const store = new SqlTokenStore(patient.db);
      const subject = `subject-of-${what}`;
      await store.insert(sampleToken({ id: `old-${what}`, familyId: `race-${what}`, subject }));
      await store.insert(sampleToken({ id: `other-${what}`, familyId: `other-${what}`, subject: "somebody" }));
      // Another transaction has the successor's id, so that the rotation stands still just before it inserts it.
      const other = await session(server.url);
      await other.run("begin");
      await other.run(
        `insert into portcullis_refresh_tokens (id, hash, family_id, subject, scopes, roles, claims, issued_at, expires_at, family_expires_at)
       values ('next-${what}', 'h', 'other-${what}', 's', '[]', '[]', '{}', 1, 1, 1)`,
      );
      const rotating = store.rotate(
        `old-${what}`,
        1,
        sampleToken({ id: `next-${what}`, familyId: `race-${what}`, subject }),
        "sealed",
      );
      await sleep(100);
      const revoking =
        what === "family"
          ? store.revokeFamily(`race-${what}`, 7)
          : store.revokeSubject(subject, 7, Date.now() + 60_000);
      await sleep(100);
      await other.run("rollback");
      await other.end();
      expect(await rotating).toBe(true);
      await revoking;
      expect([(await store.get(`old-${what}`))?.revokedAt, (await store.get(`next-${what}`))?.revokedAt]).toEqual([
        7, 7,
      ]);
      await patient.close();
    },
  );

  test("a transaction that the server rolls back because of a deadlock is retried", async () => {
    // A store with time: PostgreSQL looks for deadlocks after a second of waiting.
    const patient = await open(server.url, { timeoutMs: 5000 });
    const store = new SqlApiKeyStore(patient.db);
    await store.insert(sampleKey({ id: "lock-a", usageCount: 0 }));
    await store.insert(sampleKey({ id: "lock-b", usageCount: 0 }));
    const other = await session(server.url);
    // InnoDB undoes the transaction that changed fewer rows, PostgreSQL the one that first looks for a deadlock: ours, both times.
    if (engine === "PostgreSQL") await other.run("set deadlock_timeout = '20s'");
    await other.run("create temporary table weight (n int)");
    await other.run("begin");
    await other.run(`insert into weight values ${Array.from({ length: 50 }, (_, index) => `(${index})`).join(",")}`);
    await other.run("update portcullis_api_keys set usage_count = usage_count + 10 where id = 'lock-b'");
    const adding = store.addUsage([
      { id: "lock-b", count: 1, lastUsedAt: 1 },
      { id: "lock-a", count: 1, lastUsedAt: 1 },
    ]);
    await sleep(100);
    await other.run("update portcullis_api_keys set usage_count = usage_count + 10 where id = 'lock-a'");
    await other.run("commit");
    await adding;
    expect([(await store.get("lock-a"))?.usageCount, (await store.get("lock-b"))?.usageCount]).toEqual([11, 11]);
    await other.end();
    await patient.close();
  });

  test("concurrent batches of the same keys add up, whatever their order", async () => {
    const ids = Array.from({ length: 40 }, (_, index) => `many-${index}`);
    for (const id of ids) await keys.insert(sampleKey({ id, usageCount: 0, lastUsedAt: null }));
    const patient = await open(server.url, { timeoutMs: 10_000 });
    const store = new SqlApiKeyStore(patient.db);
    await Promise.all(
      Array.from({ length: 20 }, (_, round) => {
        const order = round % 2 === 0 ? ids : [...ids].reverse();
        return store.addUsage([...order, ...order].map((id) => ({ id, count: 1, lastUsedAt: 1000 + round })));
      }),
    );
    for (const id of ids) expect(await keys.get(id)).toMatchObject({ usageCount: 40, lastUsedAt: 1019 });
    await patient.close();
  });

  test("a server that was killed is used again after its restart, without a restart of this process", async () => {
    await keys.insert(sampleKey({ id: "before-kill" }));
    await server.kill();
    const { ms, error } = await timed(() => keys.get("before-kill"));
    expect(error).toBeInstanceOf(Error);
    expect(ms).toBeLessThan(SOON_MS);
    await server.restart();
    await expect
      .poll(async () => (await keys.get("before-kill").catch(() => undefined))?.id, { timeout: 8000 })
      .toBe("before-kill");
  });

  test("a black hole on the network causes errors in time, and closing does not wait for it", async () => {
    const proxy = await startTcpProxy(server.port);
    const url = new URL(server.url);
    url.port = String(proxy.port);
    const database = openDatabase(url.href, createRuntime(), { timeoutMs: TIMEOUT_MS });
    await database.ready();
    proxy.blackhole();
    for (let n = 0; n < 3; n += 1) {
      const { ms, error } = await timed(() => database.apiKeys.get("x"));
      expect(error).toBeInstanceOf(Error);
      expect(ms).toBeLessThan(SOON_MS);
    }
    await proxy.heal();
    await expect
      .poll(async () => (await timed(() => database.apiKeys.get("x"))).error, { timeout: 8000 })
      .toBeUndefined();
    proxy.blackhole();
    await timed(() => database.apiKeys.get("x"));
    const closing = await timed(() => database.close());
    expect(closing.error).toBeUndefined();
    expect(closing.ms).toBeLessThan(2500);
    await proxy.close();
  });

  test("an app that starts before its database becomes ready by itself", async () => {
    const proxy = await startTcpProxy(server.port);
    await proxy.refuse();
    const url = new URL(server.url);
    url.port = String(proxy.port);
    const database = openDatabase(url.href, createRuntime(), { timeoutMs: TIMEOUT_MS });
    await expect(database.ready()).rejects.toThrow(/cannot be used: .*ECONNREFUSED/);
    await expect(database.apiKeys.get("x")).rejects.toThrow("cannot be used");
    await proxy.heal();
    await expect
      .poll(async () => (await timed(() => database.apiKeys.get("x"))).error, { timeout: 8000 })
      .toBeUndefined();
    await database.ready();
    await database.close();
    await proxy.close();
  });

  test("a statement that the server ends is late, and one whose connection it ends is on a lost connection", async () => {
    await keys.insert(sampleKey({ id: "locked" }));
    const other = await session(server.url);
    await other.run("begin");
    await other.run("update portcullis_api_keys set name = 'held' where id = 'locked'");
    const statement = sql`update portcullis_api_keys set name = 'x' where id = 'locked'`;
    const ended = await timed(() => statement.execute(opened.db));
    expect([classifyDriverError(ended.error), ended.ms < SOON_MS]).toEqual(["late", true]);
    const waiting = timed(() => statement.execute(opened.slowDb));
    await sleep(200);
    const killer = await session(server.url);
    for (const { id } of await killer.run(poolOf(databaseName())))
      await killer.run(terminate(id)).catch(() => undefined);
    await killer.end();
    await other.end().catch(() => undefined);
    expect(["connection-lost", "connection-ended"]).toContain(classifyDriverError((await waiting).error));
  });
});
