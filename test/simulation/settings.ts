import { inCi } from "../support/in-ci.js";

/** How many seeds run: in CI, and in a developer's `npm test`, which is to end within minutes. */
const SEEDS = inCi ? 2000 : 100;

function fromEnvironment(name: string): number | undefined {
  const text = process.env[name];
  if (text === undefined || text === "") return undefined;
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${name} is a whole number, not ${text}`);
  return Number(text);
}

/** SIMULATION_SEEDS=n runs n seeds, SIMULATION_FIRST=n begins with seed n, SIMULATION_SEED=n runs that one alone. */
export const oneSeed = fromEnvironment("SIMULATION_SEED");
export const count = fromEnvironment("SIMULATION_SEEDS") ?? SEEDS;
export const first = fromEnvironment("SIMULATION_FIRST") ?? 1;
