import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningServer, startRedis } from "../support/servers.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { type LimiterApp, limiterApp, OPEN } from "./limiter-app.js";
import { sendOnce } from "./load.js";
import { FAULT_TEST_MS, outage } from "./outage.js";
import { networkFaults, processFaults, redisDo } from "./redis-faults.js";

const redis: RunningServer = await startRedis();
const proxy: TcpProxy = await startTcpProxy(redis.port);
afterAll(async () => {
  await proxy.close();
  await redis.close();
});

const bench = (onStoreError: "local" | "allow" | "deny", limit?: number): Promise<LimiterApp> => limiterApp(`redis://127.0.0.1:${proxy.port}`, onStoreError, limit);

describe("the limiter on Redis, onStoreError local", () => {
  let app: LimiterApp;
  beforeAll(async () => {
    app = await bench("local");
  });
  afterAll(() => app.close());

  test.each([...networkFaults(proxy), ...processFaults(redis)].map((fault) => [fault.name, fault] as const))("%s", async (_name, fault) => {
    await outage(app.server.port, app.events, [OPEN], fault, { during: {}, announcedBy: ["rate-limit"] });
  }, FAULT_TEST_MS);

  test("SCRIPT FLUSH again and again is not noticed", async () => {
    let timer: NodeJS.Timeout | undefined;
    const flush = (): void => void redisDo(redis, "SCRIPT FLUSH");
    await outage(app.server.port, app.events, [OPEN], { name: "SCRIPT FLUSH every 20 ms", begin: () => void (timer = setInterval(flush, 20)), end: () => clearInterval(timer) }, { during: {}, announcedBy: [] });
  });

  test("out of memory", async () => {
    const fault = { name: "OOM (maxmemory, noeviction)", begin: () => redisDo(redis, "CONFIG SET maxmemory 1"), end: () => redisDo(redis, "CONFIG SET maxmemory 0") };
    await outage(app.server.port, app.events, [OPEN], fault, { during: {}, announcedBy: ["rate-limit"] });
  });

  test("read-only, as the old master after a fail-over", async () => {
    const fault = { name: "READONLY (REPLICAOF)", begin: () => redisDo(redis, "REPLICAOF 127.0.0.1 1"), end: () => redisDo(redis, "REPLICAOF NO ONE") };
    await outage(app.server.port, app.events, [OPEN], fault, { during: {}, announcedBy: ["rate-limit"] });
  });
});

describe("the limiter on Redis, what it does without", () => {
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
    await expect.poll(async () => (await status(), app.events.map(({ event }) => event)), { timeout: 5000 }).toEqual(["portcullis_store_unavailable", "portcullis_store_recovered"]);
    expect(await status()).toBe(429);
    await app.close();
  });

  test.each([
    ["allow", 200],
    ["deny", 503],
  ] as const)("%s: answers %i, in time", async (onStoreError, status) => {
    const app = await bench(onStoreError);
    const { load } = await outage(app.server.port, app.events, [OPEN], { name: `black hole, onStoreError ${onStoreError}`, begin: () => proxy.blackhole(), end: () => proxy.heal() }, { during: { "GET /": [status] }, announcedBy: ["rate-limit"] });
    expect(load.statuses("GET /")).toContain(status);
    await app.close();
  });
});
