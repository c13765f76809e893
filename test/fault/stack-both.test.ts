import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { postgresDatabase, type RunningServer, startRedis, uniqueName } from "../support/servers.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { sendOnce, type Sample } from "./load.js";
import { FAULT_TEST_MS, outage, STORE_TIMEOUT_MS, SILENT_MS } from "./outage.js";
import { type StackApp, stackApp } from "./stack-app.js";
import { expectKept, Writers } from "./writers.js";

/** The bound, and what a machine that runs several suites at once may add. */
const IN_TIME_MS = STORE_TIMEOUT_MS + 50 + 100;

const redis: RunningServer = await startRedis();
const toRedis: TcpProxy = await startTcpProxy(redis.port);

describe("the whole stack when Redis and PostgreSQL fail at once", () => {
  let app: StackApp;
  let toDatabase: TcpProxy;
  let database: string;
  const prefix = `${uniqueName()}:`;
  beforeAll(async () => {
    database = await postgresDatabase();
    const url = new URL(database);
    toDatabase = await startTcpProxy(Number(url.port === "" ? 5432 : url.port));
    url.host = `127.0.0.1:${toDatabase.port}`;
    app = await stackApp(`redis://127.0.0.1:${toRedis.port}`, url.href, prefix);
  });
  afterAll(async () => {
    await app.close();
    await toRedis.close();
    await toDatabase.close();
    await redis.close();
  });

  const heal = async (): Promise<void> => {
    await toRedis.heal();
    await toDatabase.heal();
  };
  const target = (name: string) => {
    const found = app.targets.find((one) => one.name === name);
    if (found === undefined) throw new Error(name);
    return found;
  };
  const backToNormal = (): Promise<void> =>
    expect
      .poll(
        async () =>
          (await Promise.all(app.targets.map((one) => sendOnce(app.server.port, one)))).map(({ status }) => status),
        { timeout: 8000 },
      )
      .toEqual([200, 200, 200, 200]);

  test(
    "a request whose limit is in one and whose key is in the other waits for each once; after five late ones others for neither",
    async () => {
      for (let i = 0; i < 3; i += 1) {
        await backToNormal();
        await sleep(600);
        toRedis.blackhole();
        toDatabase.blackhole();
        const first = await sendOnce(app.server.port, target("key"));
        // One after the other: requests with one key that come together share a look-up.
        const late: Sample[] = [];
        while (late.length < 8 && (late.at(-1)?.ms ?? Infinity) > 100)
          late.push(await sendOnce(app.server.port, target("key")));
        const next = await Promise.all([1, 2, 3].map(() => sendOnce(app.server.port, target("key"))));
        await heal();
        const soonest = Math.min(...next.map(({ ms }) => ms));
        process.stdout.write(
          `both silent | key ${first.status} after ${first.ms.toFixed(0)} ms, then the soonest of three after ${soonest.toFixed(0)} ms\n`,
        );
        expect(new Set([first, ...late, ...next].map(({ status }) => status))).toEqual(new Set([503]));
        for (const { ms } of [first, ...late]) expect(ms).toBeLessThan(IN_TIME_MS + STORE_TIMEOUT_MS);
        // The circuits are open now. Two of these may be the probes of the two servers.
        expect(soonest).toBeLessThan(100);
      }
    },
    FAULT_TEST_MS,
  );

  test(
    "only Redis is silent: a lone request with a key is served, in time",
    async () => {
      await backToNormal();
      await sleep(600);
      toRedis.blackhole();
      const { status, ms } = await sendOnce(app.server.port, target("key"));
      await heal();
      process.stdout.write(`Redis silent | key ${status} after ${ms.toFixed(0)} ms\n`);
      expect(ms).toBeLessThan(IN_TIME_MS);
      expect(status).toBe(200);
    },
    FAULT_TEST_MS,
  );

  test(
    "a revocation is done in time or rejected, and what was acknowledged holds",
    async () => {
      await backToNormal();
      const { key, record } = await app.apiKeys.create({ ownerId: "ada", name: "to revoke" });
      await sleep(600);
      // Written slowly, and then told to nobody.
      toDatabase.latency(100);
      toRedis.blackhole();
      const start = performance.now();
      await expect(app.apiKeys.revoke(record.id)).rejects.toMatchObject({ code: "PORTCULLIS_STORE_UNAVAILABLE" });
      const ms = performance.now() - start;
      process.stdout.write(`slow, then silent | revoke rejected after ${ms.toFixed(0)} ms\n`);
      expect(ms).toBeLessThan(IN_TIME_MS);
      await heal();
      await backToNormal();
      // Again, as the error says: this time it is acknowledged, and another process knows.
      await app.apiKeys.revoke(record.id);
      const other = await stackApp(redis.url, database, prefix);
      await expect(other.apiKeys.verify(key))
        .resolves.toMatchObject({ ok: false })
        .finally(() => other.close());
    },
    FAULT_TEST_MS,
  );

  test(
    "under load: each server is announced once, nothing is late, no acknowledged write is lost",
    async () => {
      const writers = new Writers(app);
      const fault = {
        name: "Redis and PostgreSQL: black hole",
        begin: () => {
          toRedis.blackhole();
          toDatabase.blackhole();
        },
        end: heal,
        lastsMs: SILENT_MS,
      };
      await outage(app.server.port, app.events, app.targets, fault, {
        during: { limiter: [], session: [503], key: [503], token: [503] },
        announcedBy: ["database", "redis"],
        servers: 2,
      });
      await writers.stop();
      expect(writers.slowestMs).toBeGreaterThan(0);
      const other = await stackApp(redis.url, database, prefix);
      await expectKept(writers, other).finally(() => other.close());
    },
    FAULT_TEST_MS,
  );
});
