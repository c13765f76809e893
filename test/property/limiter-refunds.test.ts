import { fork, type ChildProcess } from "node:child_process";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { RateLimitStore, WindowPolicy } from "../../src/stores/contracts.js";
import { openRedis, type RedisConnection } from "../../src/stores/redis/client.js";
import { RedisSlidingWindowStore } from "../../src/stores/redis/sliding-window/store.js";
import { SlidingWindowStore } from "../../src/stores/memory/sliding-window/store.js";
import { ManualClock } from "../support/manual-clock.js";
import { program } from "../support/programs.js";
import { type RunningServer, startRedis, uniqueName } from "../support/servers.js";
import { TimedRedis } from "./limiter-timed-redis.js";
import { runs } from "./seed.js";

vi.setConfig({ testTimeout: runs(120_000) });

/** Units of one request, as the naive log has them. */
interface Taken {
  readonly key: string;
  readonly name: string;
  readonly at: number;
  readonly units: number;
  readonly recordedAt: number | string;
  /** Whether a reset has dropped them. */
  isForgotten: boolean;
  isBack: boolean;
}

/** The rule itself: what was taken in the last window, and neither given back nor forgotten. */
class NaiveLog {
  readonly all: Taken[] = [];
  used({ name, windowMs }: WindowPolicy, key: string, now: number): number {
    return this.all
      .filter(
        (one) => one.name === name && one.key === key && !one.isBack && !one.isForgotten && now - one.at < windowMs,
      )
      .reduce((sum, { units }) => sum + units, 0);
  }
}

interface World {
  readonly store: RateLimitStore;
  now(): number;
  advance(ms: number): void;
  lose(): Promise<void>;
  close(): Promise<void>;
}

const NAMES = ["plan:1s", "plan:60s"] as const;
const WINDOWS: Readonly<Record<string, number>> = { "plan:1s": 1000, "plan:60s": 60_000 };
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("take" as const),
      key: fc.constantFrom("a", "b"),
      limit: fc.integer({ min: 0, max: 9 }),
      cost: fc.integer({ min: 1, max: 20 }),
      name: fc.constantFrom(...NAMES),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("take all" as const),
      key: fc.constantFrom("a", "b"),
      limit: fc.integer({ min: 0, max: 30 }),
      cost: fc.integer({ min: 1, max: 20 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("refund" as const),
      which: fc.nat(),
      units: fc.constantFrom("all", "one"),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("wait" as const),
      ms: fc.constantFrom(0, 1, 250, 500, 999, 1000, 30_000, 59_999, 60_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("reset" as const),
      key: fc.constantFrom("a", "b"),
      name: fc.constantFrom(...NAMES),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("lose" as const) }) },
);
const trace = fc.record({
  maxLimit: fc.constantFrom(40, 2000, 100_000),
  steps: fc.array(step, { minLength: 1, maxLength: 60, size: "max" }),
});
type Trace = typeof trace extends fc.Arbitrary<infer Value> ? Value : never;

describe("limits that change, with refunds, resets and a store that loses its data", () => {
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

  function inMemory(): World {
    const clock = new ManualClock();
    const store = new SlidingWindowStore({ clock });
    return {
      store,
      now: () => clock.monotonic(),
      advance: (ms) => clock.advance(ms),
      lose: async () => store.resetAll(),
      close: async () => store.close(),
    };
  }

  function inRedis(): World {
    const timed = new TimedRedis(connection);
    const prefix = `${uniqueName()}:`;
    // As many records as any limit here has units, so that times are kept to the microsecond.
    const store = new RedisSlidingWindowStore({ redis: timed, prefix, maxRecords: 100_000 });
    return {
      store,
      now: () => timed.us / 1000,
      advance: (ms) => void (timed.us += ms * 1000),
      lose: async () => void (await connection.command("FLUSHALL")),
      close: async () => undefined,
    };
  }

  /** Takes the trace, and holds every answer against the naive log. Returns what it came to. */
  async function follow(world: World, { maxLimit, steps }: Trace): Promise<Record<string, number>> {
    const log = new NaiveLog();
    const seen = { taken: 0, refused: 0, refunded: 0, void: 0 };
    const { store } = world;
    const policyOf = (name: string, limit: number): WindowPolicy => ({
      name,
      limit,
      maxLimit,
      windowMs: WINDOWS[name] ?? 0,
    });
    const take = (policy: WindowPolicy, key: string, units: number, recordedAt: number | string | undefined): void => {
      expect(recordedAt).toBeDefined();
      log.all.push({
        key,
        name: policy.name,
        at: world.now(),
        units,
        recordedAt: recordedAt ?? 0,
        isForgotten: false,
        isBack: false,
      });
      seen.taken += 1;
      // The invariant: taken in the last window and not given back is at most the limit in force.
      expect(log.used(policy, key, world.now())).toBeLessThanOrEqual(policy.limit);
    };
    for (const one of steps) {
      if (one.kind === "wait") world.advance(one.ms);
      if (one.kind === "take") {
        const policy = policyOf(one.name, one.limit);
        const before = log.used(policy, one.key, world.now());
        const outcome = await store.consume(policy, one.key, one.cost, true);
        const fits = before + one.cost <= one.limit;
        expect([outcome.allowed, outcome.used]).toEqual([fits, fits ? before + one.cost : before]);
        if (fits) take(policy, one.key, one.cost, outcome.recordedAt);
        else seen.refused += 1;
      }
      if (one.kind === "take all") {
        const requests = NAMES.map((name) => ({ policy: policyOf(name, one.limit), key: one.key, cost: one.cost }));
        const fits = requests.every(
          ({ policy, key, cost }) => log.used(policy, key, world.now()) + cost <= policy.limit,
        );
        const outcomes = (await store.consumeAll?.(requests, true)) ?? [];
        expect(outcomes.every(({ allowed }) => allowed)).toBe(fits);
        if (!fits) seen.refused += 1;
        else
          for (const [index, { policy, key, cost }] of requests.entries())
            take(policy, key, cost, outcomes[index]?.recordedAt);
      }
      if (one.kind === "refund" && log.all.length > 0) {
        const taken = log.all[one.which % log.all.length]!;
        if (taken.isBack) continue;
        const policy = policyOf(taken.name, 1);
        const isLive = !taken.isForgotten && world.now() - taken.at < policy.windowMs;
        const back = await store.refund?.(policy, taken.key, taken.units, taken.recordedAt);
        expect(back).toBe(isLive ? taken.units : 0);
        taken.isBack = true;
        seen[isLive ? "refunded" : "void"] += 1;
      }
      if (one.kind === "reset") {
        await store.reset(policyOf(one.name, 1), one.key);
        for (const taken of log.all) if (taken.key === one.key && taken.name === one.name) taken.isForgotten = true;
      }
      if (one.kind === "lose") {
        await world.lose();
        for (const taken of log.all) taken.isForgotten = true;
      }
      // Redis' clock never gives two calls the same microsecond; a test's would.
      if (!(store instanceof SlidingWindowStore)) world.advance(0.001);
      for (const name of NAMES)
        for (const key of ["a", "b"])
          expect((await store.peek(policyOf(name, 1), key, 0)).used).toBe(
            log.used(policyOf(name, 1), key, world.now()),
          );
    }
    return seen;
  }

  it.each([
    ["memory", inMemory, 2000],
    ["Redis", inRedis, 60],
  ] as const)(
    "the units of the last window that were not given back are at most the limit: %s",
    async (_name, make, count) => {
      const total: Record<string, number> = {};
      await fc.assert(
        fc.asyncProperty(trace, async (one) => {
          const world = make();
          try {
            for (const [what, number] of Object.entries(await follow(world, one)))
              total[what] = (total[what] ?? 0) + number;
          } finally {
            await world.close();
          }
        }),
        { numRuns: runs(count) },
      );
      for (const what of ["taken", "refused", "refunded", "void"]) expect(total[what] ?? 0).toBeGreaterThan(count / 10);
    },
  );

  it("two processes on one Redis take, give back and are refused: never more than the limit in force at once", async () => {
    const prefix = `${uniqueName()}:`;
    const script = await program("property/limiter-refunds-child");
    const children = [0, 1].map(() => fork(script, { execArgv: [] }));
    const answers = await Promise.all(
      children.map(async (child: ChildProcess) => {
        child.send({ url: redis.url, prefix, limit: 20, attempts: 400 });
        return new Promise<{ spans: [number, number][]; refused: number }>((resolve, reject) => {
          child.once("message", resolve);
          child.once("exit", (code) => reject(new Error(`the child ended with ${code}`)));
        });
      }),
    );
    for (const child of children) child.kill();
    const spans = answers.flatMap(({ spans: own }) => own);
    // Each span begins after its units were recorded, and ends before they are asked back.
    const most = Math.max(...spans.map(([from]) => spans.filter(([begin, end]) => begin <= from && from < end).length));
    expect(most).toBeLessThanOrEqual(20);
    expect(most).toBeGreaterThan(10);
    expect(answers.every(({ refused }) => refused > 0)).toBe(true);
    const store = new RedisSlidingWindowStore({ redis: redis.url, prefix });
    expect(await store.peek({ name: "shared", limit: 20, windowMs: 600_000 }, "client", 0)).toMatchObject({ used: 0 });
    await store.close();
  });
});
