import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { WindowPolicy } from "../../../../src/stores/contracts.js";
import { openRedis, type RedisConnection, redisScript } from "../../../../src/stores/redis/client.js";
import { RedisSlidingWindowStore } from "../../../../src/stores/redis/sliding-window/store.js";
import { RedisWindows } from "../../../../src/stores/redis/sliding-window/client.js";
import { ListOracle, mostInAnyWindow } from "../../../property/limiter-oracle.js";
import { redisSays, type RunningServer, startRedis, uniqueName } from "../../../support/servers.js";
import { startTcpProxy } from "../../../support/tcp-proxy.js";

let server: RunningServer;
let redis: RedisConnection;
beforeAll(async () => {
  server = await startRedis();
  redis = openRedis(server.url);
  await redis.ready();
});
afterAll(async () => {
  await redis.close();
  await server.close();
});

const START_US = 1_795_000_000_000_000;

/** Redis with a clock that a test sets: the scripts as they are, but for where they read the time. */
class TimedRedis implements RedisConnection {
  readonly library = undefined;
  readonly isCluster = false;
  us = START_US;
  eval: RedisConnection["eval"] = (script, keys, args) => {
    const timed = script.source.replace(/(redis\.)?call\('TIME'\)/, "set");
    expect(timed).not.toBe(script.source);
    const source = `local set = cjson.decode(table.remove(ARGV))\n${timed}`;
    return redis.eval(redisScript(source), keys, [...args, JSON.stringify([Math.floor(this.us / 1e6), this.us % 1e6])]);
  };
  command: RedisConnection["command"] = (...args) => redis.command(...args);
  publish: RedisConnection["publish"] = (...args) => redis.publish(...args);
  subscribe: RedisConnection["subscribe"] = (...args) => redis.subscribe(...args);
  ready = () => redis.ready();
  close = () => Promise.resolve();
}

function timed(maxRecords = 4096) {
  const clock = new TimedRedis();
  const prefix = `${uniqueName()}:`;
  return { clock, prefix, windows: new RedisWindows(clock, prefix, maxRecords) };
}

async function keysOf(prefix: string): Promise<string[]> {
  return (await redis.command("KEYS", `${prefix}*`)) as string[];
}

describe("the script against a list of time stamps", () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ cost: fc.integer({ min: 1, max: 4 }), afterUs: fc.constant(0) }) },
    {
      weight: 6,
      arbitrary: fc.record({ cost: fc.integer({ min: 1, max: 4 }), afterUs: fc.integer({ min: 0, max: 900_000 }) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        cost: fc.integer({ min: 5, max: 9 }),
        afterUs: fc.integer({ min: 1_500_000, max: 9_000_000 }),
      }),
    },
  );

  it("answers the same to the microsecond, for any requests, costs and pauses", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 8 }),
        fc.array(step, { minLength: 1, maxLength: 40 }),
        async (limit, steps) => {
          const { clock, windows } = timed();
          const policy: WindowPolicy = { name: "p", limit, windowMs: 2000 };
          const oracle = new ListOracle();
          const accepted: number[] = [];
          for (const { cost, afterUs } of steps) {
            clock.us += afterUs;
            const expected = oracle.consume({ ...policy, windowMs: 2_000_000 }, "k", cost, clock.us);
            const isTimed = accepted.length % 2 === 1;
            const outcome = isTimed
              ? await windows.decideTimed(policy, "k", cost)
              : await windows.decide(policy, "k", cost, true);
            expect(outcome).toEqual({
              allowed: expected.allowed,
              used: expected.used,
              retryAfterMs: Math.ceil(expected.retryAfterMs / 1000),
              resetMs: Math.ceil(expected.resetMs / 1000),
              ...(isTimed && { recordedAt: String(clock.us) }),
            });
            if (outcome.allowed) for (let unit = 0; unit < cost; unit += 1) accepted.push(clock.us);
          }
          expect(mostInAnyWindow(accepted, 2_000_000)).toBeLessThanOrEqual(limit);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("never accepts more than the limit when the clock is set back, and frees a slot after at most a window", async () => {
    const anyStep = fc.record({
      passUs: fc.integer({ min: 0, max: 700_000 }),
      setBackUs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 3_600_000_000 })),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(anyStep, { minLength: 1, maxLength: 30 }),
        async (limit, steps) => {
          const { clock, windows } = timed();
          const policy: WindowPolicy = { name: "p", limit, windowMs: 2000 };
          const accepted: number[] = [];
          let trueTime = 0;
          for (const { passUs, setBackUs } of steps) {
            trueTime += passUs;
            clock.us += passUs - setBackUs;
            const outcome = await windows.decide(policy, "k", 1, true);
            if (outcome.allowed) accepted.push(trueTime);
            expect(outcome.retryAfterMs).toBeLessThanOrEqual(2000);
          }
          expect(mostInAnyWindow(accepted, 2_000_000)).toBeLessThanOrEqual(limit);
          clock.us += 2_000_000;
          expect((await windows.decide(policy, "k", limit, true)).allowed).toBe(true);
        },
      ),
      { numRuns: 100 },
    );
  });

  it("a limit above maxRecords keeps to its limit and to its memory, and frees a slot at most window / maxRecords late", async () => {
    const { clock, prefix, windows } = timed(16);
    const policy: WindowPolicy = { name: "p", limit: 300, windowMs: 1600 };
    const accepted: number[] = [];
    let late = 0;
    for (let index = 0; index < 900; index += 1) {
      clock.us += 4001;
      const { allowed, retryAfterMs } = await windows.decide(policy, "k", 1, true);
      if (allowed) accepted.push(clock.us);
      else {
        const exact = (accepted[accepted.length - 300] ?? NaN) + 1_600_000 - clock.us;
        late = Math.max(late, retryAfterMs * 1000 - exact);
        clock.us += retryAfterMs * 1000;
      }
    }
    expect(accepted.length).toBeGreaterThan(600);
    expect(mostInAnyWindow(accepted, 1_600_000)).toBeLessThanOrEqual(300);
    expect(late).toBeGreaterThan(0);
    expect(late).toBeLessThanOrEqual(100_000 + 1000);
    const [key] = await keysOf(prefix);
    expect(await redis.command("STRLEN", key ?? "")).toBeLessThanOrEqual(16 + 6 * 18);
  });

  it("counts and frees costs beyond two bytes completely", async () => {
    const { clock, windows } = timed();
    const policy: WindowPolicy = { name: "p", limit: 2 ** 31 - 1, windowMs: 1000 };
    expect((await windows.decide(policy, "k", 200_000, true)).used).toBe(200_000);
    clock.us += 500_000;
    expect((await windows.decide(policy, "k", 2 ** 31 - 1 - 200_000, true)).used).toBe(2 ** 31 - 1);
    const refused = await windows.decide(policy, "k", 150_000, true);
    // One tick of a window cut into 4096 may come on top.
    expect([refused.allowed, refused.retryAfterMs]).toEqual([false, 501]);
    clock.us += 501_000;
    expect((await windows.decide(policy, "k", 200_000, true)).allowed).toBe(true);
  });

  it("keeps counting when the sums of units wrap around, in narrow and wide records, given back or not", async () => {
    for (const limit of [65_535, 2 ** 31 - 1]) {
      const part = fc.record({
        share: fc.double({ min: 0, max: 0.7, noNaN: true }),
        afterUs: fc.integer({ min: 1, max: 400_000 }),
        isTakenBack: fc.boolean(),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(part, { minLength: 8, maxLength: 30 }), async (parts) => {
          const { clock, windows } = timed(1_000_000);
          const policy: WindowPolicy = { name: "p", limit, windowMs: 1000 };
          // Wide records have longer ticks; these are whole ones.
          const tick = limit > 1_000_000 ? 1000 : 1;
          const log: { at: number; cost: number }[] = [];
          for (const { share, afterUs, isTakenBack } of parts) {
            clock.us += Math.ceil(afterUs / tick) * tick;
            const cost = 1 + Math.floor(share * limit);
            const used = log.reduce((sum, record) => sum + (record.at > clock.us - 1_000_000 ? record.cost : 0), 0);
            const allowed = used + cost <= limit;
            const outcome = await windows.decideTimed(policy, "k", cost);
            expect(outcome).toMatchObject({ allowed, used: allowed ? used + cost : used });
            if (allowed && isTakenBack) await windows.refund(policy, "k", cost, outcome.recordedAt);
            else if (allowed) log.push({ at: clock.us, cost });
          }
        }),
        { numRuns: 25 },
      );
    }
  });

  it("records nothing when one of several limits refuses, and records in all of them when none does", async () => {
    const { clock, windows } = timed();
    const policies = [1, 2, 70_000].map((limit, index): WindowPolicy => ({
      name: `p${index}`,
      limit,
      windowMs: 1000 * (index + 1),
    }));
    const ask = async () =>
      (await windows.decideAll(policies.map((policy) => ({ policy, key: "k", cost: 1 })))).map(({ allowed, used }) => [
        allowed,
        used,
      ]);
    expect(await ask()).toEqual([
      [true, 1],
      [true, 1],
      [true, 1],
    ]);
    clock.us += 999_999;
    expect(await ask()).toEqual([
      [false, 1],
      [true, 1],
      [true, 1],
    ]);
    clock.us += 1;
    expect(await ask()).toEqual([
      [true, 1],
      [true, 2],
      [true, 2],
    ]);
    clock.us += 1_000_000;
    expect(await ask()).toEqual([
      [true, 1],
      [true, 2],
      [true, 3],
    ]);
  });

  it("keeps counting when offsets outgrow their 32 bits, in long windows too", async () => {
    for (const windowMs of [2_000_000, 3_600_000, 86_400_000, 2 ** 35]) {
      const { clock, windows } = timed();
      const policy: WindowPolicy = { name: "p", limit: 3, windowMs };
      const accepted: number[] = [];
      for (let index = 0; index < 40; index += 1) {
        if ((await windows.decide(policy, "k", 1, true)).allowed) accepted.push(clock.us);
        clock.us += Math.round(windowMs * 1000 * 0.29);
      }
      expect(accepted).toHaveLength(30);
      expect(mostInAnyWindow(accepted, windowMs * 1000)).toBe(3);
    }
  });

  it("gives back a request's own record, and nothing of another when that record has left", async () => {
    const { clock, prefix, windows } = timed();
    const policy: WindowPolicy = { name: "p", limit: 5, windowMs: 1000 };
    const first = await windows.decideTimed(policy, "k", 2);
    clock.us += 300_000;
    const second = await windows.decideTimed(policy, "k", 3);
    await windows.refund(policy, "k", 1, first.recordedAt);
    expect(await windows.decide(policy, "k", 1, false)).toMatchObject({ used: 4, resetMs: 700 });
    await windows.refund(policy, "k", 9, first.recordedAt);
    expect(await windows.decide(policy, "k", 1, false)).toMatchObject({ used: 3, resetMs: 1000 });
    await windows.refund(policy, "k", 1, first.recordedAt);
    await windows.refund(policy, "k", 1, "");
    expect((await windows.decide(policy, "k", 1, false)).used).toBe(2);
    await windows.refund(policy, "k", 2, second.recordedAt);
    expect(await keysOf(prefix)).toEqual([]);
  });
});

describe("what a client costs", () => {
  it("every key expires, whatever was done to it", async () => {
    const { clock, prefix, windows } = timed();
    const policy: WindowPolicy = { name: "p", limit: 2, windowMs: 60_000 };
    const act = { fresh: [1], full: [1, 1], refused: [1, 1, 1], tooMuch: [3] };
    for (const [key, costs] of Object.entries(act))
      for (const cost of costs) await windows.decide(policy, key, cost, true);
    const back = await windows.decideTimed(policy, "taken-back", 2);
    await windows.refund(policy, "taken-back", 1, back.recordedAt);
    clock.us -= 50_000_000;
    await windows.decide(policy, "full", 1, true);
    await windows.decide(policy, "never", 1, false);
    await windows.decideAll([
      { policy, key: "all", cost: 1 },
      { policy: { ...policy, name: "q" }, key: "all", cost: 1 },
    ]);
    const keys = await keysOf(prefix);
    expect(keys).toHaveLength(6);
    for (const key of keys) {
      const life = (await redis.command("PTTL", key)) as number;
      expect(life).toBeGreaterThan(50_000);
      expect(life).toBeLessThanOrEqual(60_002);
    }
  });

  it("is a sixth of a sorted set of the same requests at most", async () => {
    const prefix = `${uniqueName()}:`;
    const windows = new RedisWindows(redis, prefix, 4096);
    for (const [requests, most] of [
      [1, 170],
      [100, 900],
      [1000, 9000],
    ] as const) {
      const policy: WindowPolicy = { name: "m", limit: requests, windowMs: 60_000 };
      const key = `203.0.113.${requests % 256}`;
      for (let index = 0; index < requests; index += 1) await windows.decide(policy, key, 1, true);
      const [ours] = (await redis.command("KEYS", `${prefix}*${key}*`)) as string[];
      const bytes = (await redis.command("MEMORY", "USAGE", ours ?? "")) as number;
      expect(bytes).toBeLessThanOrEqual(most);
      await redis.command("DEL", ours ?? "");
    }
  });

  it("is one command and one round trip for any number of limits, with the client in the hash tag of the key", async () => {
    const calls = async () =>
      Number(/cmdstat_evalsha:calls=(\d+)/.exec(await redisSays(server.port, "INFO commandstats"))?.[1] ?? 0);
    const prefix = `${uniqueName()}:`;
    const windows = new RedisWindows(redis, prefix, 4096);
    const policies = ["a", "b", "c", "d"].map((name): WindowPolicy => ({ name, limit: 9, windowMs: 1000 }));
    await windows.decideAll(policies.map((policy) => ({ policy, key: "x}{y", cost: 1 })));
    const before = await calls();
    const outcomes = await windows.decideAll(policies.map((policy) => ({ policy, key: "x}{y", cost: 1 })));
    expect(outcomes.map(({ used }) => used)).toEqual([2, 2, 2, 2]);
    expect((await calls()) - before).toBe(1);
    expect((await keysOf(prefix)).toSorted()).toEqual(policies.map(({ name }) => `${prefix}{x%7d%7by}${name}%3%lfls`));
  });

  it("shares one round trip among calls of the same tick", async () => {
    const proxy = await startTcpProxy(server.port);
    const store = new RedisSlidingWindowStore({ redis: `redis://127.0.0.1:${proxy.port}`, prefix: `${uniqueName()}:` });
    try {
      await store.ready();
      const policy: WindowPolicy = { name: "p", limit: 9, windowMs: 1000 };
      await store.consume(policy, "warm", 1);
      proxy.latency(100);
      const before = performance.now();
      await Promise.all(Array.from({ length: 20 }, (_, index) => store.consume(policy, `k${index}`, 1)));
      expect(performance.now() - before).toBeLessThan(195);
    } finally {
      await store.close();
      await proxy.close();
    }
  });
});

it("the limiter keeps counting when the server forgets its scripts", async () => {
  const store = new RedisSlidingWindowStore({ redis, prefix: `${uniqueName()}:` });
  const policy: WindowPolicy = { name: "p", limit: 2, windowMs: 60_000 };
  expect((await store.consume(policy, "k", 1)).used).toBe(1);
  await redis.command("SCRIPT", "FLUSH");
  const both = await Promise.all([store.consume(policy, "k", 1), store.consume(policy, "k", 1)]);
  expect(both.map(({ allowed }) => allowed)).toEqual([true, false]);
});

it("the limiter rejects when the key holds another type, without repeating its value", async () => {
  const prefix = `${uniqueName()}:`;
  const store = new RedisSlidingWindowStore({ redis, prefix });
  await redis.command("LPUSH", `${prefix}{k}p%3%zq0ao`, "secret");
  const error = await store
    .consume({ name: "p", limit: 2, windowMs: 60_000 }, "k", 1)
    .catch((reason: unknown) => reason);
  expect(error).toMatchObject({ name: "RedisError", code: "WRONGTYPE" });
});

it("invalid settings make the limiter fail at start, without the URL in any message", () => {
  for (const settings of [
    {},
    { redis: 3 },
    { redis: "http://user:hunter2@x" },
    { redis: "redis://h", prefix: "{x}" },
    { redis: "redis://h", maxRecords: 1 },
    { redis: "redis://h", prefx: "a" },
  ]) {
    expect(() => new RedisSlidingWindowStore(settings as { redis: string })).toThrow(
      expect.objectContaining({ name: "SettingsError", message: expect.not.stringContaining("hunter2") }),
    );
  }
});
