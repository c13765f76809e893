import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, renameSync, writeFileSync } from "node:fs";
import { constants, setPriority } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { bundleSimulation } from "./bundle.js";

declare module "vitest" {
  interface ProvidedContext {
    /** The folder with `odd.json` and `even.json`, once the seeds of that half have run. */
    simulation: string;
  }
}

/**
 * Runs the seeds beside all other tests, odd and even ones in a process each, at a lower priority: they take the processor
 * time that others leave while they wait for servers and timers. `seeds.test.ts` reads the outcome.
 */
export async function setup(project: TestProject): Promise<() => void> {
  const { folder: programs, remove } = await bundleSimulation();
  const folder = mkdtempSync(join(programs, "outcome-"));
  const children = ["odd", "even"].map((half) => start(join(programs, "run.mjs"), half, folder));
  project.provide("simulation", folder);
  return () => {
    for (const child of children) child.removeAllListeners("exit").kill();
    remove();
  };
}

function start(program: string, half: string, folder: string): ChildProcess {
  // With this room 40 seeds take 18 collections instead of 35.
  const child = fork(program, [half], { execArgv: ["--max-semi-space-size=64", "--enable-source-maps"] });
  if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_BELOW_NORMAL);
  let outcome: unknown;
  child.on("message", (message) => (outcome = message));
  child.once("exit", (code, signal) => {
    const text = JSON.stringify(outcome ?? { report: `The process ended with ${signal ?? code}.`, faults: {} });
    // Renamed, so that nobody reads half of it.
    writeFileSync(join(folder, `${half}.part`), text);
    renameSync(join(folder, `${half}.part`), join(folder, `${half}.json`));
  });
  return child;
}
