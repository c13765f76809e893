import { fork } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, inject, it } from "vitest";
import type { HalfOutcome } from "./run.js";
import { FIXES, type Fix } from "./fixes.js";

/** How many seeds are searched for another one, when the named seed no longer shows the fault. */
const SEARCHED = 300;

const programs = dirname(inject("simulation"));
const folder = mkdtempSync(join(programs, "without-fix-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Copies the bundle of the simulation, without the fix. Returns the program. */
function bundleWithout({ fix, without }: Fix): string {
  const copy = mkdtempSync(join(folder, "bundle-"));
  let found = 0;
  for (const file of readdirSync(programs).filter((name) => name.endsWith(".mjs"))) {
    const parts = readFileSync(join(programs, file), "utf8").split(fix);
    found += parts.length - 1;
    writeFileSync(join(copy, file), parts.join(without));
  }
  expect(found, `"${fix}" is not in the bundle: name the new text of this fix in fixes.ts`).toBeGreaterThan(0);
  cpSync(join(programs, "node_modules"), join(copy, "node_modules"), { recursive: true });
  return join(copy, "run.mjs");
}

/** Runs one seed. Returns what was violated; empty when nothing was. */
function violations(program: string, seed: number): Promise<string> {
  const env = { ...process.env, SIMULATION_SEED: String(seed) };
  const child = fork(program, [seed % 2 === 1 ? "odd" : "even"], { env, silent: true });
  let outcome: HalfOutcome | undefined;
  child.on("message", (message) => (outcome = message as HalfOutcome));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) =>
      outcome === undefined ? reject(new Error(`The simulation ended with ${code}.`)) : resolve(outcome.report),
    );
  });
}

async function firstSeed(program: string): Promise<number | undefined> {
  for (let seed = 1; seed <= SEARCHED; seed += 1) if ((await violations(program, seed)) !== "") return seed;
  return undefined;
}

describe("the simulation of a library that lacks one fix", { timeout: 600_000 }, () => {
  it.each(FIXES)("finds that $fault", async (fix) => {
    const program = bundleWithout(fix);
    if ((await violations(program, fix.seed)) !== "") return;
    const other = await firstSeed(program);
    expect.fail(
      other === undefined
        ? `No seed up to ${SEARCHED} shows the fault.`
        : `Seed ${fix.seed} no longer shows the fault; seed ${other} does.`,
    );
  });
});
