import { readFileSync } from "node:fs";
import { relative } from "node:path";
import { expect } from "vitest";
import { inCi } from "../support/in-ci.js";

/**
 * The seed of every property: fixed in CI, so that a red build is red again; new in each run at home, so that the properties
 * go on searching. PORTCULLIS_SEED=n repeats a run, PORTCULLIS_RUNS=n multiplies the number of cases. A property that names
 * its own seed keeps it. It works as one of vitest's setupFiles and by import; a test file that has no property pays nothing.
 */
const IN_CI = 20_261_126;

/** A whole number of the environment, or `undefined`. A misspelt seed is no reason to search elsewhere without a word. */
function fromEnvironment(name: string): number | undefined {
  const text = process.env[name];
  if (text === undefined || text === "") return undefined;
  if (!/^-?\d{1,10}$/.test(text)) throw new Error(`${name} is a whole number, not ${text}`);
  return Number(text);
}

export const seed = fromEnvironment("PORTCULLIS_SEED") ?? (inCi ? IN_CI : Math.floor(Math.random() * 2 ** 31));
const times = Math.max(1, fromEnvironment("PORTCULLIS_RUNS") ?? 1);

/** The number of cases of a property that names one: `fc.assert(property, { numRuns: runs(300) })`. */
export const runs = (usual: number): number => usual * times;

const file = expect.getState().testPath;
if (file !== undefined && /from "fast-check"|\/seed\.js"/.test(readFileSync(file, "utf8"))) {
  const { default: fc } = await import("fast-check");
  // fast-check prints the seed and the path to the smallest case of a failure by itself.
  fc.configureGlobal({ ...fc.readConfigureGlobal(), seed, numRuns: runs(100) });
  process.stdout.write(
    `properties of ${relative(process.cwd(), file)}: PORTCULLIS_SEED=${seed} PORTCULLIS_RUNS=${times}\n`,
  );
}
