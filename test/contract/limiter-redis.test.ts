import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RedisSlidingWindowStore } from "portcullis/redis";
import { rateLimitStoreConformance } from "portcullis/testing";
import { type AppClient, REDIS_PACKAGES } from "../support/redis-clients.js";
import {
  type RedisCluster,
  type RedisSentinel,
  sharedRedis,
  startRedisCluster,
  startRedisSentinel,
  uniqueName,
} from "../support/servers.js";

// The windows are on a clock of Redis' own, so they are waited for, and a busy machine wakes timers late.
const OPTIONS = { elapse: (ms: number) => sleep(ms + 1), toleranceMs: 50, windowMs: 1000 };

let cluster: RedisCluster;
let sentinel: RedisSentinel;
const clients: AppClient[] = [];

const WIRINGS = [
  ...REDIS_PACKAGES.flatMap(({ name, plain, sentinel: viaSentinel, cluster: inCluster }) => [
    { name: `standalone by ${name}`, connect: async () => plain((await sharedRedis()).url) },
    { name: `Sentinel by ${name}`, connect: () => viaSentinel(sentinel) },
    { name: `Cluster by ${name}`, connect: () => inCluster(cluster) },
  ]),
  { name: "a redis: URL", connect: async () => (await sharedRedis()).url },
].map(({ name, connect }) => {
  let redis: object | string = "";
  return {
    name,
    open: async () => {
      const opened = await connect();
      redis = typeof opened === "string" ? opened : opened.client;
      if (typeof opened !== "string") clients.push(opened);
    },
    // Each store in a test has keys of its own.
    cases: rateLimitStoreConformance(() => new RedisSlidingWindowStore({ redis, prefix: `${uniqueName()}:` }), OPTIONS),
    results: [] as Promise<void>[],
  };
});

beforeAll(async () => {
  [cluster, sentinel] = await Promise.all([startRedisCluster(), startRedisSentinel()]);
  for (const wiring of WIRINGS) {
    await wiring.open();
    // All at once: each case mostly waits for its windows to pass.
    wiring.results = wiring.cases.map(({ run }) => run());
    for (const result of wiring.results) result.catch(() => undefined);
    await sleep(100);
  }
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await Promise.all([cluster.close(), sentinel.close()]);
});

describe.each(WIRINGS)("limits in Redis, $name", (wiring) => {
  for (const [index, { name }] of wiring.cases.entries()) test(name, () => wiring.results[index]);
});

test("every client and wiring of the table was tested", () => {
  expect(WIRINGS).toHaveLength(13);
});
