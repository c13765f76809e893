// Memory is measured in a process that has done nothing else.
import { spawnSync } from "node:child_process";
import { childArguments } from "./options.mjs";

const CASE = "BENCH_MICRO_CASE";

/** What this process was started to measure, or `undefined` in the one that starts the others. */
export const givenCase = process.env[CASE] === undefined ? undefined : JSON.parse(process.env[CASE]);

/** Runs `file` once more for one case, and gives what it reports. */
export function inChild(file, facts) {
  const child = spawnSync(process.execPath, ["--expose-gc", "--max-old-space-size=12288", file, ...childArguments], {
    env: { ...process.env, [CASE]: JSON.stringify(facts) },
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  if (child.status !== 0) throw new Error(`the child for ${JSON.stringify(facts)} failed`, { cause: child.error });
  return JSON.parse(child.stdout);
}

export function report(facts) {
  process.stdout.write(JSON.stringify(facts));
}

/** Bytes in use after garbage collection. `external` has the array buffers in it already, so they are not added. */
export async function bytesInUse() {
  for (let i = 0; i < 4; i += 1) {
    globalThis.gc();
    // Array buffers are given back by a task of their own.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
