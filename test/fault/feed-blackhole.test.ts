import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openRedis } from "../../src/stores/redis/client.js";
import { startMember, until, type Member } from "../fleet/members.js";
import { REDIS_PACKAGES } from "../support/redis-clients.js";
import { postgresDatabase, redisSays, type RunningServer, startRedis, uniqueName } from "../support/servers.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { type StackApp, stackApp } from "./stack-app.js";

/** The documented bound: so long after its last reading nobody believes what this process remembers. */
const STALE_MS = 1000;
/** One answer more, which may wait for `storeTimeoutMs`, and a busy machine. */
const MARGIN_MS = 500;

const redis: RunningServer = await startRedis();

describe("processes cut off from Redis by a black hole, without any reset", () => {
  let proxy: TcpProxy;
  let settings: object;
  let here: Member;
  /** Cut off; the second lets tokens pass when it cannot know. */
  let cut: Member;
  let lenient: Member;
  const jwt = { issuer: "https://fault.test", audience: "https://fault.test", storeTimeoutMs: 250 };
  beforeAll(async () => {
    proxy = await startTcpProxy(redis.port);
    settings = { database: await postgresDatabase(), apiKeys: { cacheSeconds: 60, storeTimeoutMs: 250 }, jwt };
    const away = `redis://127.0.0.1:${proxy.port}`;
    [here, cut, lenient] = await Promise.all([
      startMember({ ...settings, redis: redis.url }),
      startMember({ ...settings, redis: away }),
      startMember({ ...settings, redis: away, jwt: { ...jwt, onStoreError: "allow" } }),
    ]);
  });
  afterAll(async () => {
    await proxy.heal();
    expect(await Promise.all([here, cut, lenient].map((member) => member.end()))).toEqual([0, 0, 0]);
    await proxy.close();
  });

  const issue = async (subject: string): Promise<string> =>
    ((await here.send("POST", `/tokens/${subject}`)).body as { accessToken: string }).accessToken;
  const withToken = async (member: Member, token: string): Promise<number> =>
    (await member.send("GET", "/by-token", { authorization: `Bearer ${token}` })).status;
  const withKey = async (member: Member, key: string): Promise<number> =>
    (await member.send("GET", "/by-key", { "x-api-key": key })).status;
  const revoke = async (token: string): Promise<void> =>
    expect((await here.send("POST", `/revoke?token=${token}`)).status).toBe(200);

  test("notice within a second, no longer trust their memory, and miss no revocation once they are back", async () => {
    const [good, early, late, ended] = [await issue("ada"), await issue("ada"), await issue("ada"), await issue("bob")];
    const { key, record } = (await here.send("POST", "/keys")).body as { key: string; record: { id: string } };
    await revoke(early);
    for (const member of [cut, lenient]) {
      await until(async () => (await withToken(member, early)) === 401, STALE_MS);
      expect([
        await withToken(member, good),
        await withToken(member, late),
        await withToken(member, ended),
        await withKey(member, key),
        await withKey(member, key),
      ]).toEqual([200, 200, 200, 200, 200]);
    }
    proxy.blackhole();
    await Promise.all([
      revoke(late),
      here.send("POST", "/tokens/bob/end"),
      here.send("POST", `/keys/${record.id}/revoke`),
    ]);
    const told = performance.now();
    // Until then memory may answer; from then on nothing acknowledged before is accepted again.
    const [token, apiKey] = await Promise.all([
      lastAccepted(() => withToken(cut, late), told),
      lastAccepted(() => withKey(cut, key), told),
    ]);
    process.stdout.write(
      `black hole | last accepted: a revoked token ${token.ms.toFixed(0)} ms, a revoked key ${apiKey.ms.toFixed(0)} ms after the revocation; slowest answer ${Math.max(token.slowestMs, apiKey.slowestMs).toFixed(0)} ms\n`,
    );
    expect(token.ms).toBeLessThan(STALE_MS);
    expect(apiKey.ms).toBeLessThan(STALE_MS);
    expect([token.then, apiKey.then]).toEqual([503, 401]);
    // Nobody can say whether this one has been revoked; of the early one all know that it has; the key is asked of the database.
    expect([await withToken(cut, good), await withToken(cut, early), await withKey(cut, key)]).toEqual([503, 401, 401]);
    expect([await withToken(lenient, good), await withToken(lenient, early), await withKey(lenient, key)]).toEqual([
      200, 401, 401,
    ]);
    await proxy.heal();
    const back = await until(async () => (await withToken(cut, good)) === 200, 4000);
    process.stdout.write(`black hole | believed again ${back.toFixed(0)} ms after\n`);
    expect([await withToken(cut, late), await withToken(cut, ended), await withKey(cut, key)]).toEqual([401, 401, 401]);
    await until(
      async () => (await withToken(lenient, late)) === 401 && (await withToken(lenient, ended)) === 401,
      STALE_MS + MARGIN_MS,
    );
  });

  test("get messages at once again afterwards, and each has reported one outage", async () => {
    const token = await issue("ada");
    expect([await withToken(cut, token), await withToken(lenient, token)]).toEqual([200, 200]);
    await revoke(token);
    const heard = await until(
      async () => (await withToken(cut, token)) === 401 && (await withToken(lenient, token)) === 401,
      STALE_MS,
    );
    process.stdout.write(`black hole | a later revocation known after ${heard.toFixed(0)} ms\n`);
    for (const member of [cut, lenient]) {
      const events = (await member.send("GET", "/events")).body as string[];
      expect(events.filter((event) => /store|unhandled/.test(event))).toEqual([
        "portcullis_store_unavailable redis",
        "portcullis_store_recovered redis",
      ]);
    }
  });
});

describe("a subscription in a black hole, while other connections work", () => {
  const packages = REDIS_PACKAGES.filter(({ name }) => name.endsWith(" 6"));
  test.each(packages.map((client) => [client.name, client] as const))(
    "%s: refuses no request, finds a revocation by reading the record, and subscribes again",
    async (name, redisPackage) => {
      const [commands, messages] = [await startTcpProxy(redis.port), await startTcpProxy(redis.port)];
      const front = await startTcpProxy(commands.port);
      const { client, close } = await redisPackage.plain(`redis://127.0.0.1:${front.port}`);
      await openRedis(client).ready();
      // The client of commands has its way; the link that subscribes is made now, and takes the other.
      front.retarget(messages.port);
      const database = await postgresDatabase();
      const prefix = `${uniqueName()}:`;
      const [a, b] = [await stackApp(redis.url, database, prefix, 60), await stackApp(client, database, prefix, 60)];
      const subscribed = (): Promise<string> => redisSays(redis.port, `PUBSUB NUMSUB ${prefix}{changes}:told`);
      try {
        await expect.poll(subscribed).toMatch(/:2\r\n/);
        expect([commands.connections, messages.connections]).toEqual([1, 1]);
        const before = await knownAfter(a, b);
        messages.blackhole();
        const times: number[] = [];
        const began = performance.now();
        // Longer than it takes to give up a silent link.
        while (performance.now() - began < 4500) times.push(await knownAfter(a, b));
        await messages.heal();
        const healed = performance.now();
        expect(Math.max(...times)).toBeLessThan(STALE_MS);
        // The old subscription is gone with its connection; this is the new one.
        await expect.poll(subscribed).toMatch(/:1\r\n/);
        await expect.poll(subscribed, { timeout: 6000 }).toMatch(/:2\r\n/);
        const again = performance.now() - healed;
        process.stdout.write(
          `black hole of the subscription (${name}) | known after ${before.toFixed(0)} ms before, at most ${Math.max(...times).toFixed(0)} ms of ${times.length} times meanwhile, subscribed again after ${again.toFixed(0)} ms, then known after ${(await knownAfter(a, b)).toFixed(0)} ms\n`,
        );
        expect(b.events).toEqual([]);
      } finally {
        await a.close();
        await b.close();
        await close();
        for (const each of [front, commands, messages]) await each.close();
      }
    },
  );
});

afterAll(() => redis.close());

/** How long after `from` something was accepted for the last time, and what the answer was ever after. */
async function lastAccepted(
  use: () => Promise<number>,
  from: number,
): Promise<{ ms: number; then: number; slowestMs: number }> {
  let ms = 0;
  let slowestMs = 0;
  let refusals: number[] = [];
  while (refusals.length < 3 || performance.now() - from < 1.5 * STALE_MS) {
    const asked = performance.now();
    const status = await use();
    slowestMs = Math.max(slowestMs, performance.now() - asked);
    if (status === 200) [ms, refusals] = [asked - from, []];
    // Whoever goes on with a wrong key is held off, so not more often than needed.
    else if (refusals.push(status) >= 3) await sleep(300);
    await sleep(10);
  }
  expect(new Set(refusals).size).toBe(1);
  return { ms, then: refusals[0] ?? 0, slowestMs };
}

/** Milliseconds until `b` refuses a token that `a` has revoked. */
async function knownAfter(a: StackApp, b: StackApp): Promise<number> {
  const { accessToken } = await a.jwt.issue("ada");
  const { jti } = await b.jwt.verifyAccessToken(accessToken);
  await a.jwt.revokeToken(jti ?? "");
  const began = performance.now();
  for (;;) {
    try {
      await b.jwt.verifyAccessToken(accessToken);
    } catch (error) {
      expect(error).toMatchObject({ code: "revoked" });
      return performance.now() - began;
    }
    await sleep(1);
  }
}
