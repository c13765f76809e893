import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { WindowPolicy, WindowRequest } from "../../src/stores/contracts.js";
import { type AppClient, REDIS_PACKAGES } from "../support/redis-clients.js";
import { redisSays, type RunningServer, startRedis } from "../support/servers.js";
import { type Failure, MemorySubject, RedisSubject, type Subject } from "./limiter-subjects.js";
import { runs } from "./seed.js";

vi.setConfig({ testTimeout: runs(60_000) });

let server: RunningServer;
const clients: AppClient[] = [];
beforeAll(async () => {
  server = await startRedis();
  for (const { plain } of REDIS_PACKAGES) clients.push(await plain(server.url));
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await server.close();
});

/** One step of a trace, taken by every store and its list of time stamps. */
class Step implements fc.AsyncCommand<object, readonly Subject[]> {
  constructor(
    readonly says: string,
    readonly act: (subject: Subject) => unknown,
  ) {}
  check = () => true;
  async run(_model: object, subjects: readonly Subject[]): Promise<void> {
    for (const subject of subjects) await this.act(subject);
  }
  toString = () => this.says;
}

// Windows and pauses are multiples of the same quarter, so that hits often leave exactly now; Redis' keys expire in real time, long after.
const QUARTER = 5000;
const quarters = (min: number, max: number) => fc.integer({ min, max }).map((count) => count * QUARTER);
const pause = fc.oneof(
  fc.integer({ min: 0, max: 3 }),
  quarters(0, 3),
  fc.tuple(quarters(1, 8), fc.constantFrom(-1, 0, 1)).map(([ms, off]) => ms + off),
);
const keys = fc.constantFrom("192.0.2.1", "2001:db8:0:1200::/56", "{a}%");
const costs = fc.oneof(
  { weight: 5, arbitrary: fc.constant(1) },
  { weight: 2, arbitrary: fc.integer({ min: 2, max: 5 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, 8, 70_000) },
);
const limits = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 1, max: 9 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, 65_535, 65_536) },
);

/** Three limits, of which the first is that of the store itself, which can take hits back. */
const policiesOf = fc
  .array(
    fc.record({
      limit: limits,
      windowMs: fc.oneof(
        quarters(4, 12),
        quarters(4, 12).map((ms) => ms + 1),
      ),
    }),
    { minLength: 3, maxLength: 3 },
  )
  .map((parts) =>
    parts.map((part, index): WindowPolicy => ({ name: ["express-rate-limit", "burst", "a:b"][index] ?? "", ...part })),
  );

function traceOf(
  policies: readonly WindowPolicy[],
): fc.Arbitrary<Iterable<fc.AsyncCommand<object, readonly Subject[]>>> {
  const [own = policies[0]!] = policies;
  const request: fc.Arbitrary<WindowRequest> = fc.record({
    policy: fc.constantFrom(...policies),
    key: keys,
    cost: costs,
  });
  const say = (asked: readonly WindowRequest[]) =>
    asked.map(({ policy, key, cost }) => `${policy.name}/${key}/${cost}`).join(" ");
  const step = <Value>(
    weight: number,
    values: fc.Arbitrary<Value>,
    name: (value: Value) => string,
    act: (subject: Subject, value: Value) => unknown,
  ) =>
    Array<fc.Arbitrary<Step>>(weight).fill(
      values.map((value) => new Step(name(value), (subject) => act(subject, value))),
    );
  return fc.commands(
    [
      ...step(
        6,
        request,
        (one) => `hit(${say([one])})`,
        (subject, { policy, key, cost }) => subject.hit(policy, key, cost),
      ),
      ...step(
        2,
        fc.array(request, { minLength: 2, maxLength: 8 }),
        (all) => `burst(${say(all)})`,
        (subject, all) => subject.burst(all),
      ),
      ...step(
        2,
        fc.array(request, { minLength: 1, maxLength: 4 }),
        (all) => `all or none(${say(all)})`,
        (subject, all) => subject.hitAll(all),
      ),
      ...step(
        4,
        pause,
        (ms) => `advance(${ms})`,
        (subject, ms) => subject.advance(ms),
      ),
      ...step(
        1,
        fc.oneof(pause, fc.constant(3_600_000)),
        (ms) => `clock back(${ms})`,
        (subject, ms) => subject.setBack(ms),
      ),
      ...step(
        1,
        keys,
        (key) => `take back(${key})`,
        (subject, key) => subject.takeBack(own, key),
      ),
      ...step(
        1,
        request,
        ({ policy, key }) => `reset(${policy.name}/${key})`,
        (subject, { policy, key }) => subject.reset(policy, key),
      ),
      ...step(
        1,
        fc.tuple(fc.constantFrom<Failure>("loses-requests", "loses-answers", "declines"), request),
        ([kind, one]) => `fail(${kind} ${say([one])})`,
        (subject, [kind, { policy, key, cost }]) => subject.fail(kind, policy, key, cost),
      ),
    ],
    { maxCommands: 50, size: "max" },
  );
}

describe("the same trace on every store", () => {
  const trace = policiesOf.chain((policies) => fc.tuple(fc.constant(policies), traceOf(policies)));

  it("gives the decisions of the list of time stamps, step by step: in memory and in Redis by both clients of both packages", async () => {
    const seen = { allowed: 0, refused: 0, moved: 0 };
    await fc.assert(
      fc.asyncProperty(trace, async ([policies, steps]) => {
        const [own] = policies as [WindowPolicy];
        const subjects = [new MemorySubject(own), ...clients.map(({ client }) => new RedisSubject(own, client))];
        try {
          await fc.asyncModelRun(() => ({ model: {}, real: subjects }), steps);
        } finally {
          for (const { store } of subjects) await store.close();
        }
        for (const one of subjects)
          for (const what of ["allowed", "refused", "moved"] as const) seen[what] += one.seen[what];
      }),
      { numRuns: runs(100) },
    );
    expect(Math.min(seen.allowed, seen.refused)).toBeGreaterThan(500);
    expect(seen.moved).toBeGreaterThan(20);
  });

  it("ran on five stores, and the server accepts writes again", async () => {
    expect(clients).toHaveLength(4);
    expect(await redisSays(server.port, "CONFIG GET min-replicas-to-write")).toMatch(/\r\n0\r\n/);
  });
});
