import { afterAll, expect, test } from "vitest";
import {
  mariaDbDatabase,
  mariaDbQuery,
  postgresDatabase,
  postgresQuery,
  redisSays,
  type RunningServer,
  sharedRedis,
  startPostgres,
  startRedis,
  startRedisCluster,
  startRedisSentinel,
} from "../support/servers.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const open: { close(): Promise<void> }[] = [];
afterAll(async () => {
  for (const each of open) await each.close();
});
async function keep<T extends { close(): Promise<void> }>(starting: Promise<T>): Promise<T> {
  const started = await starting;
  open.push(started);
  return started;
}

test("an acknowledged write to Redis is there after SIGKILL and restart", async () => {
  const redis: RunningServer = await keep(startRedis());
  const pid = redis.pid;
  expect(await redisSays(redis.port, "SET a 1")).toMatch(/^\+OK/);
  await redis.kill();
  await expect(redisSays(redis.port, "PING")).rejects.toThrow(/ECONNREFUSED/);
  await redis.restart();
  expect(redis.pid).not.toBe(pid);
  expect(await redisSays(redis.port, "GET a")).toMatch(/^\$1\r\n1/);
});

test("a committed row in PostgreSQL is there after SIGKILL and restart, and a paused server does not answer", async () => {
  const postgres = await keep(startPostgres());
  await postgresQuery(postgres.url, "create table t (a int); insert into t values (7)");
  await postgres.kill();
  await postgres.restart();
  expect(await postgresQuery(postgres.url, "select a from t")).toEqual([{ a: 7 }]);
  postgres.pause();
  const answer = postgresQuery(postgres.url, "select 1 as one");
  expect(await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 300, "silent"))])).toBe("silent");
  postgres.resume();
  expect(await answer).toEqual([{ one: 1 }]);
});

test("shared servers give each test a database of its own", async () => {
  const [a, b, c] = await Promise.all([postgresDatabase(), postgresDatabase(), mariaDbDatabase()]);
  expect(a).not.toBe(b);
  expect(await postgresQuery(a, "select 1 as one")).toEqual([{ one: 1 }]);
  expect(await mariaDbQuery(c, "select 1 as one")).toEqual([{ one: 1 }]);
  expect((await sharedRedis()).url).toMatch(/^redis:/);
});

test("a Sentinel set fails over to its replica", async () => {
  const { master, replica, sentinels, masterName } = await keep(startRedisSentinel());
  await redisSays(master.port, "SET a 1", "WAIT 1 1000");
  await master.kill();
  await expect
    .poll(() => redisSays(sentinels[0]?.port ?? 0, `SENTINEL GET-MASTER-ADDR-BY-NAME ${masterName}`), {
      timeout: 15_000,
    })
    .toContain(String(replica.port));
  expect(await redisSays(replica.port, "GET a")).toContain("$1");
});

test("a cluster answers for every slot and fails over to a replica", async () => {
  const { nodes } = await keep(startRedisCluster({ replicas: 1 }));
  expect(nodes).toHaveLength(6);
  await nodes[0]?.kill();
  await expect
    .poll(() => redisSays(nodes[3]?.port ?? 0, "INFO replication"), { timeout: 15_000 })
    .toContain("role:master");
  await expect
    .poll(() => redisSays(nodes[1]?.port ?? 0, "CLUSTER INFO"), { timeout: 15_000 })
    .toContain("cluster_state:ok");
});

test("the proxy passes on, delays, swallows, resets mid-reply, refuses and heals", async () => {
  const redis = await keep(startRedis());
  const proxy = await keep(startTcpProxy(redis.port));
  const ping = (): Promise<string> => redisSays(proxy.port, "PING");
  expect(await ping()).toBe("+PONG\r\n+OK\r\n");
  proxy.latency(120);
  const start = performance.now();
  expect(await ping()).toBe("+PONG\r\n+OK\r\n");
  expect(performance.now() - start).toBeGreaterThan(115);
  proxy.blackhole();
  expect(
    await Promise.race([ping().catch(() => "reset"), new Promise((resolve) => setTimeout(resolve, 100, "silent"))]),
  ).toBe("silent");
  await proxy.heal();
  proxy.resetMidReply();
  await expect(ping()).rejects.toThrow(/ECONNRESET/);
  await proxy.refuse();
  await expect(ping()).rejects.toThrow(/ECONNREFUSED/);
  await proxy.heal();
  expect(await ping()).toBe("+PONG\r\n+OK\r\n");
});
