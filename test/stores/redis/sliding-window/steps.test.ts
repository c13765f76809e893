import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openRedis, type RedisConnection, redisScript } from "../../../../src/stores/redis/client.js";
import { RedisSlidingWindowStore } from "../../../../src/stores/redis/sliding-window/store.js";
import { TimedRedis } from "../../../property/limiter-timed-redis.js";
import { type RunningServer, startRedis, uniqueName } from "../../../support/servers.js";

/** Scripts as they are, but that the records they read and write are counted. */
const COUNTED = `
local struct = {
  pack = function(...) redis.call('INCR', 'steps') return struct.pack(...) end,
  unpack = function(...) redis.call('INCR', 'steps') return struct.unpack(...) end,
}
`;
/** The limit, and so the most records of a log: of a microsecond each. */
const LIMIT = 1024;
const policy = { name: "n", limit: LIMIT, windowMs: 600_000 } as const;
const SHORT = 16;
const LONG = 1000;

describe("a client's log in Redis", () => {
  let redis: RunningServer;
  let connection: RedisConnection;
  beforeAll(async () => {
    redis = await startRedis();
    connection = openRedis(redis.url);
    await connection.ready();
  });
  afterAll(async () => {
    await connection.close();
    await redis.close();
  });

  /** A store with one client, who has made so many requests, one each millisecond. */
  async function logOf(records: number) {
    let isCounting = false;
    const timed = new TimedRedis({
      ...connection,
      command: (...words) => connection.command(...words),
      eval: (script, keys, args) =>
        connection.eval(isCounting ? redisScript(COUNTED + script.source) : script, keys, args),
    });
    const store = new RedisSlidingWindowStore({ redis: timed, prefix: `${uniqueName()}:` });
    const stamps: (number | string)[] = [];
    for (let n = 0; n < records; n += 1) {
      const { recordedAt } = await store.consume(policy, "client", 1, true);
      stamps.push(recordedAt!);
      timed.us += 1000;
    }
    const stepsOf = async (work: () => Promise<unknown>): Promise<number> => {
      await connection.command("DEL", "steps");
      isCounting = true;
      await work();
      isCounting = false;
      return Number(await connection.command("GET", "steps"));
    };
    const used = async (): Promise<number> => (await store.peek(policy, "client", 0)).used;
    return { store, timed, stamps, stepsOf, used };
  }
  type Log = Awaited<ReturnType<typeof logOf>>;

  const CALLS: readonly [string, (log: Log, records: number) => Promise<unknown>][] = [
    [
      "an accepted request",
      async ({ store }, records) =>
        expect(await store.consume(policy, "client", 1)).toMatchObject({ allowed: true, used: records + 1 }),
    ],
    [
      "the refusal of a large cost, which says when half of the records have left",
      async ({ store }, records) => {
        const cost = LIMIT - records / 2;
        const retryAfterMs = policy.windowMs - records / 2 - 1;
        expect(await store.consume(policy, "client", cost)).toMatchObject({ allowed: false, retryAfterMs });
      },
    ],
    [
      "a look when half of the records have left",
      async ({ store, timed }, records) => {
        timed.us += policy.windowMs * 1000 - (records / 2) * 1000;
        expect((await store.peek(policy, "client", 0)).used).toBe(records / 2 - 1);
      },
    ],
    [
      "a look when all records have left",
      async ({ store, timed }) => {
        timed.us += policy.windowMs * 1000;
        expect((await store.peek(policy, "client", 0)).used).toBe(0);
      },
    ],
    [
      "a refund of the newest record",
      async ({ store, stamps }) => expect(await store.refund(policy, "client", 1, stamps.at(-1)!)).toBe(1),
    ],
    [
      "a refund of the oldest record",
      async ({ store, stamps }) => expect(await store.refund(policy, "client", 1, stamps[0]!)).toBe(1),
    ],
    ["a refund of any unit", async ({ store }) => expect(await store.refund(policy, "client", 1, "")).toBe(1)],
    [
      "a refund of what is not there",
      async ({ store, stamps }) => expect(await store.refund(policy, "client", 1, `${Number(stamps[3]) + 1}`)).toBe(0),
    ],
  ];

  it.each(CALLS)("costs as much when it is long: %s", async (_name, call) => {
    const steps: number[] = [];
    for (const records of [SHORT, LONG]) {
      const log = await logOf(records);
      steps.push(await log.stepsOf(() => call(log, records)));
    }
    const [short = 0, long = 0] = steps;
    // Halving a log that is 64 times as long takes six more steps, for each place that is looked for.
    expect(short).toBeGreaterThan(0);
    expect(long - short).toBeLessThanOrEqual(3 * Math.ceil(Math.log2(LONG / SHORT)));
  });

  it("gives back a part of a record", async () => {
    const { store, timed, used } = await logOf(0);
    const stamps: (number | string)[] = [];
    for (const cost of [5, 1, 1, 1, 1, 5]) {
      stamps.push((await store.consume(policy, "client", cost, true)).recordedAt!);
      timed.us += 1000;
    }
    for (const [at, left] of [
      [0, 9],
      [5, 4],
    ] as const) {
      expect(await store.refund(policy, "client", 2, stamps[at]!)).toBe(2);
      expect(await used()).toBe(left + 3);
      expect(await store.refund(policy, "client", 9, stamps[at]!)).toBe(3);
      expect(await used()).toBe(left);
    }
    expect(await store.refund(policy, "client", 3, "")).toBe(3);
    expect(await used()).toBe(1);
    // The last one leaves when it would have left anyway.
    timed.us += policy.windowMs * 1000 - 3000;
    expect(await used()).toBe(1);
    timed.us += 1000;
    expect(await used()).toBe(0);
  });

  it("keeps all other units where they are, whichever record is refunded", async () => {
    const { store, timed, stamps, used, stepsOf } = await logOf(LONG);
    const order = [500, 501, 499, 0, 999, 1, 998, 250, 750, 502];
    for (const [done, at] of order.entries()) {
      // Never more than half of the records are written anew.
      expect(await stepsOf(() => store.refund(policy, "client", 1, stamps[at]!))).toBeLessThan(LONG * 1.1);
      expect(await store.refund(policy, "client", 1, stamps[at]!)).toBe(0);
      expect(await used()).toBe(LONG - done - 1);
    }
    // One after another the others leave, each in its own millisecond.
    timed.us += policy.windowMs * 1000 - LONG * 1000;
    let left = LONG - order.length;
    for (let at = 0; at < LONG; at += 1) {
      if (!order.includes(at)) left -= 1;
      expect([at, await used()]).toEqual([at, left]);
      timed.us += 1000;
    }
  });
});
