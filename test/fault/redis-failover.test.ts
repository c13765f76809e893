import { describe, expect, test } from "vitest";
import { REDIS_PACKAGES } from "../support/redis-clients.js";
import { redisSays, startRedis, startRedisCluster, startRedisSentinel } from "../support/servers.js";
import { startTcpProxy } from "../support/tcp-proxy.js";
import { limiterApp, OPEN } from "./limiter-app.js";
import { outage } from "./outage.js";
import { redisDo } from "./redis-faults.js";

const ONE_EACH = REDIS_PACKAGES.filter(({ name }) => name === "node-redis 6" || name === "ioredis 6");

describe("fail-over of Redis under load", () => {
  test.each(ONE_EACH.map((client) => [client.name, client] as const))(
    "Sentinel, by %s: another master after the first was killed",
    async (name, client) => {
      const redis = await startRedisSentinel();
      const app = await client.sentinel(redis);
      const limiter = await limiterApp(app.client);
      try {
        const fault = {
          name: `Sentinel fail-over (${name})`,
          begin: () => redis.master.kill(),
          end: () => undefined,
          lastsMs: 600,
        };
        const { load } = await outage(limiter.server.port, limiter.events, [OPEN], fault, {
          during: {},
          announcedBy: ["rate-limit"],
        });
        expect(load.count("GET /")).toBeGreaterThan(100);
        expect(await redisSays(redis.replica.port, "INFO replication")).toContain("role:master");
      } finally {
        await limiter.close();
        await app.close();
        await redis.close();
      }
    },
  );

  test.each(ONE_EACH.map((client) => [client.name, client] as const))(
    "Cluster, by %s: the replica of a killed master takes its slots",
    async (name, client) => {
      const cluster = await startRedisCluster({ replicas: 1 });
      const app = await client.cluster(cluster);
      const limiter = await limiterApp(app.client);
      try {
        // One client address is one key, in the slots of one master: that one is killed.
        await fetch(limiter.server.origin);
        const masters = cluster.nodes.slice(0, 3);
        const sizes = await Promise.all(masters.map(({ port }) => redisSays(port, "DBSIZE")));
        const owner = masters[sizes.findIndex((size) => !size.startsWith(":0"))];
        expect(owner).toBeDefined();
        const fault = {
          name: `Cluster fail-over (${name})`,
          begin: () => owner?.kill(),
          end: () => undefined,
          lastsMs: 600,
        };
        await outage(limiter.server.port, limiter.events, [OPEN], fault, { during: {}, announcedBy: ["rate-limit"] });
      } finally {
        await limiter.close();
        await app.close();
        await cluster.close();
      }
    },
  );

  test("a name that moves to the replica: the connection to the old master, now read-only, is given up", async () => {
    const old = await startRedis();
    const next = await startRedis();
    const proxy = await startTcpProxy(old.port);
    const limiter = await limiterApp(`redis://127.0.0.1:${proxy.port}`);
    try {
      const fault = {
        name: "READONLY after fail-over, the name moves",
        begin: () => redisDo(old, `REPLICAOF 127.0.0.1 ${next.port}`),
        end: () => proxy.retarget(next.port),
      };
      await outage(limiter.server.port, limiter.events, [OPEN], fault, { during: {}, announcedBy: ["rate-limit"] });
      expect(await redisSays(next.port, "DBSIZE")).not.toContain(":0");
    } finally {
      await limiter.close();
      await proxy.close();
      await old.close();
      await next.close();
    }
  });
});
