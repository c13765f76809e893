import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, inject, it } from "vitest";
import type { HalfOutcome } from "./run.js";
import { count, oneSeed } from "./settings.js";

// A seed takes about 80 ms of one core, and all other tests come first.
const TIME_OUT = 120_000 + count * 500;

describe("the simulation, run by start.ts", () => {
  it.each(["odd", "even"])("every invariant holds in every run of an %s seed", { timeout: TIME_OUT }, async (half) => {
    const file = join(inject("simulation"), `${half}.json`);
    while (!existsSync(file)) await sleep(250);
    const { report, faults } = JSON.parse(readFileSync(file, "utf8")) as HalfOutcome;
    expect(report).toBe("");
    if (oneSeed === undefined && count >= 1000)
      for (const [kind, times] of Object.entries(faults)) expect(`${kind}: ${times > 0}`).toBe(`${kind}: true`);
  });
});
