import express from "express";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { applySecurity } from "../../src/index.js";
import { RedisSlidingWindowStore } from "../../src/stores/redis/index.js";
import { serve } from "../support/serve.js";
import { type RunningServer, startRedis, uniqueName } from "../support/servers.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { type LimiterApp, limiterApp, OPEN } from "./limiter-app.js";
import { sendOnce } from "./load.js";
import { FAULT_TEST_MS, outage, storeEvents } from "./outage.js";
import { declines } from "./redis-declines.js";
import { networkFaults, processFaults, redisDo } from "./redis-faults.js";

const redis: RunningServer = await startRedis();
const proxy: TcpProxy = await startTcpProxy(redis.port);
afterAll(async () => {
  await proxy.close();
  await redis.close();
});

const bench = (onStoreError: "local" | "allow" | "deny", limit?: number): Promise<LimiterApp> =>
  limiterApp(`redis://127.0.0.1:${proxy.port}`, onStoreError, limit);

describe("the limiter on Redis, onStoreError local", () => {
  let app: LimiterApp;
  beforeAll(async () => {
    app = await bench("local");
  });
  afterAll(() => app.close());

  test.each([...networkFaults(proxy), ...processFaults(redis)].map((fault) => [fault.name, fault] as const))(
    "%s",
    async (_name, fault) => {
      await outage(app.server.port, app.events, [OPEN], fault, { during: {}, announcedBy: ["rate-limit"] });
    },
    FAULT_TEST_MS,
  );

  test("works on through repeated SCRIPT FLUSH", async () => {
    let timer: NodeJS.Timeout | undefined;
    const flush = (): void => void redisDo(redis, "SCRIPT FLUSH");
    await outage(
      app.server.port,
      app.events,
      [OPEN],
      {
        name: "SCRIPT FLUSH every 20 ms",
        begin: () => void (timer = setInterval(flush, 20)),
        end: () => clearInterval(timer),
      },
      { during: {}, announcedBy: [] },
    );
  });

  test.each(declines(redis).map((fault) => [fault.name, fault] as const))(
    "%s",
    async (_name, fault) => {
      await outage(app.server.port, app.events, [OPEN], fault, { during: {}, announcedBy: ["rate-limit"] });
      expect(app.events.map(({ reason }) => reason)).toEqual([fault.reason, "answered"]);
    },
    FAULT_TEST_MS,
  );
});

describe("the limiter when Redis is down, with onStoreError", () => {
  test("local: each process keeps the limit by itself, and Redis' count goes on where it was", async () => {
    const app = await bench("local", 5);
    const status = async (): Promise<number> => (await sendOnce(app.server.port, OPEN)).status;
    const several = async (count: number): Promise<number[]> => {
      const seen: number[] = [];
      for (let i = 0; i < count; i += 1) seen.push(await status());
      return seen;
    };
    expect(await several(6)).toEqual([200, 200, 200, 200, 200, 429]);
    await proxy.refuse();
    expect(await several(7)).toEqual([200, 200, 200, 200, 200, 429, 429]);
    await proxy.heal();
    await expect
      .poll(async () => (await status(), app.events.map(({ event }) => event)), { timeout: 5000 })
      .toEqual(["portcullis_store_unavailable", "portcullis_store_recovered"]);
    expect(await status()).toBe(429);
    await app.close();
  });

  test.each([
    ["allow", 200],
    ["deny", 503],
  ] as const)("%s: answers %i, in time", async (onStoreError, status) => {
    const app = await bench(onStoreError);
    const { load } = await outage(
      app.server.port,
      app.events,
      [OPEN],
      { name: `black hole, onStoreError ${onStoreError}`, begin: () => proxy.blackhole(), end: () => proxy.heal() },
      { during: { "GET /": [status] }, announcedBy: ["rate-limit"] },
    );
    expect(load.statuses("GET /")).toContain(status);
    await app.close();
  });
});

describe("a store that was given for rateLimit", () => {
  async function keyApp(store: RedisSlidingWindowStore) {
    const app = express();
    const security = applySecurity(app, {
      secretKey: "kZ3vQ8sW1xY6bN0mR4tU7pL2cD5fG9hJ-fault-tests",
      trustedHosts: ["127.0.0.1"],
      debug: true,
      rateLimit: { limit: 1_000_000, store },
      apiKeys: { hash: "hmac-sha256", failures: { limit: 3, windowSeconds: 60 } },
    });
    app.get("/", security.requireApiKey(), (_req, res) => void res.send("ok"));
    await security.ready();
    const server = await serve(app);
    const close = async (): Promise<void> => {
      await server.close();
      await security.close();
    };
    return { server, security, events: storeEvents(security.events), close };
  }

  test("counts the failures of API keys too, for all processes; one event tells that it is down, and close() leaves it open", async () => {
    const store = new RedisSlidingWindowStore({ redis: redis.url, prefix: `${uniqueName()}:` });
    await store.ready();
    const [one, other] = [await keyApp(store), await keyApp(store)];
    const { key } = await one.security.apiKeys.create({ ownerId: "ada", name: "good" });
    const present = async (app: typeof one, presented: string): Promise<number> =>
      (await app.server.send("/", { headers: { "x-api-key": presented } })).status;
    // The main limit and the count of failures both meet it; each goes on in this process.
    await redisDo(redis, "CONFIG SET maxmemory 1");
    expect([await present(one, "pk_wrong"), await present(one, "pk_wrong"), await present(one, key)]).toEqual([
      401, 401, 200,
    ]);
    await redisDo(redis, "CONFIG SET maxmemory 0");
    await expect.poll(async () => (await present(one, key), one.events.length), { timeout: 5000 }).toBe(2);
    expect(one.events.map(({ source, reason }) => [source, reason])).toEqual([
      ["rate-limit", "out-of-memory"],
      ["rate-limit", "answered"],
    ]);

    expect([await present(one, "pk_wrong"), await present(other, "pk_wrong"), await present(one, "pk_wrong")]).toEqual([
      401, 401, 401,
    ]);
    expect(await present(other, "pk_wrong")).toBe(429);

    await one.close();
    await other.close();
    await expect(store.peek({ name: "still", limit: 1, windowMs: 1000 }, "open", 1)).resolves.toMatchObject({
      allowed: true,
    });
    await store.close();
  });
});
