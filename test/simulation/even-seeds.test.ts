import { describe, expect, it, vi } from "vitest";
import { count, oneSeed, report, runSeeds, seedsOf } from "./seeds.js";

vi.mock("pg", () => import("./world/pg.js"));
vi.mock("lru-cache", () => import("./world/small-lru.js"));

// A seed takes about 100 ms of one core; the rest is for cores that other test files share.
const TIME_OUT = 60_000 + count * 500;

describe("the simulation, even seeds", () => {
  it("every invariant holds in every run", { timeout: TIME_OUT }, async () => {
    const outcome = await runSeeds(seedsOf(1));
    expect(report(outcome)).toBe("");
    if (oneSeed === undefined && count >= 1000)
      for (const [kind, times] of outcome.faults.all()) expect(`${kind}: ${times > 0}`).toBe(`${kind}: true`);
  });
});
