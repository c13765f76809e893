import { execFileSync } from "node:child_process";
import { ROOT } from "./code-blocks.js";

/** Builds dist before the tests of the built package; vitest runs it once. */
export function setup(): void {
  execFileSync(process.execPath, [".ci/build.mjs"], { cwd: ROOT, stdio: "inherit" });
}
