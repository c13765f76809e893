import { dirname, join } from "node:path";
import { beforeAll, describe, expect, inject, it } from "vitest";
import type * as Simulation from "./in-bundle.js";
import type { Run } from "./run-seed.js";
import type { World } from "./world/world.js";

// From the bundle: vitest would compile the library and all it replaces, and run each seed more slowly.
const programs = dirname(inject("simulation"));
const simulation = (await import(join(programs, "in-bundle.mjs"))) as typeof Simulation;
const { planOf, runOnce, newOperation, LIMIT } = simulation;

const SEEDS = Array.from({ length: 20 }, (_, at) => at + 1);

// A run takes less than a tenth of a second of one core; the rest is for cores that other test files share.
describe("one seed", { timeout: 120_000 }, () => {
  let runs: Run[];
  beforeAll(async () => {
    runs = [];
    for (const seed of SEEDS) runs.push(await runOnce(planOf(seed), { hostile: true }));
  }, 120_000);

  it("always gives the same run, to the last millisecond and status", async () => {
    for (const [at, { trace, faults }] of runs.entries()) {
      const again = await runOnce(planOf(SEEDS[at] ?? 0), { hostile: true });
      expect({ trace: again.trace, faults: String(again.faults) }).toEqual({ trace, faults: String(faults) });
      expect(trace.length).toBeGreaterThan(20);
    }
  });

  it("gives a different run from every other seed", () => {
    expect(new Set(runs.map(({ trace }) => trace.join("\n"))).size).toBe(SEEDS.length);
  });

  it("runs in virtual time and leaves the real one as it was", async () => {
    const { setTimeout: timer } = globalThis;
    const before = Date.now();
    await runOnce(planOf(1), { hostile: false });
    expect(globalThis.setTimeout).toBe(timer);
    expect(Date.now() - before).toBeLessThan(60_000);
    expect(Math.abs(Date.now() - before)).toBeLessThan(Date.UTC(2026, 0, 2) - Date.UTC(2026, 0, 1));
  });
});

describe("the check of the main limit", () => {
  const worldWith = (times: readonly number[]): World => {
    const world = new simulation.World(1, "memory", { sessions: "shared", redis: false });
    const answer = { status: 200, headers: {}, cookies: [], body: {} };
    for (const began of times)
      world.exchanges.push({
        actor: "x",
        step: "x",
        process: "one",
        client: "c",
        began,
        ended: began,
        answer,
        operation: newOperation("x"),
        wasFull: false,
      });
    world.checkMainLimit();
    return world;
  };
  const spread = (count: number, ms: number): number[] => Array.from({ length: count }, (_, at) => (at * ms) / count);

  it("accepts a full window, and reports one request more", () => {
    expect(worldWith(spread(LIMIT.limit, 1000)).violations).toEqual([]);
    expect(worldWith(spread(LIMIT.limit + 1, 1000)).violations).toHaveLength(1);
    expect(worldWith(spread(LIMIT.limit + 1, LIMIT.windowSeconds * 1000 + 200)).violations).toEqual([]);
  });
});
