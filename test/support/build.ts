import { execFileSync } from "node:child_process";
import { ROOT } from "./code-blocks.js";

/** Set when a project of this run has built it. */
const VARIABLE = "TEST_BUILD";

/** Builds dist before the tests of the built package, once for all projects of a run. */
export function setup(): void {
  if (process.env[VARIABLE] !== undefined) return;
  process.env[VARIABLE] = "done";
  execFileSync(process.execPath, [".ci/build.mjs"], { cwd: ROOT, stdio: "inherit" });
}
