import { runSeed } from "./run-seed.js";
import { FaultCounts } from "./world/faults.js";

/** How many seeds CI runs. */
const IN_CI = 2000;
/** Seeds that are told in full when they fail; of the others the number. */
const TOLD = 5;

function fromEnvironment(name: string): number | undefined {
  const text = process.env[name];
  if (text === undefined || text === "") return undefined;
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${name} is a whole number, not ${text}`);
  return Number(text);
}

/** SIMULATION_SEEDS=n runs n seeds, SIMULATION_FIRST=n begins with seed n, SIMULATION_SEED=n runs that one alone. */
export const oneSeed = fromEnvironment("SIMULATION_SEED");
export const count = fromEnvironment("SIMULATION_SEEDS") ?? IN_CI;
const first = fromEnvironment("SIMULATION_FIRST") ?? 1;

/** The half of the seeds that one worker runs: the odd ones are 0, the even ones 1. Without settings they are the same in every run. */
export function seedsOf(half: 0 | 1): number[] {
  const seeds = oneSeed === undefined ? Array.from({ length: count }, (_, at) => first + at) : [oneSeed];
  return seeds.filter((seed) => seed % 2 !== half);
}

export interface Outcome {
  /** What was violated, seed by seed; empty when nothing was. */
  readonly failures: readonly string[];
  readonly faults: FaultCounts;
}

export async function runSeeds(seeds: readonly number[]): Promise<Outcome> {
  const faults = new FaultCounts();
  const failures: string[] = [];
  for (const seed of seeds) {
    const { plan, violations, faults: struck } = await runSeed(seed);
    faults.take(struck);
    if (violations.length > 0)
      failures.push(
        `SIMULATION_SEED=${seed} (${plan.weather}; ${plan.attacks.join(", ")})\n  ${violations.join("\n  ")}`,
      );
  }
  process.stdout.write(
    `simulation: ${seeds.length} seeds, ${failures.length} with a violation; faults injected: ${String(faults)}\n`,
  );
  return { failures, faults };
}

/** The first failures in full, and the count of all. */
export function report({ failures }: Outcome): string {
  const more = failures.length > TOLD ? [`and ${failures.length - TOLD} more seeds`] : [];
  return [...failures.slice(0, TOLD), ...more].join("\n");
}
