import { runSeed } from "./run-seed.js";
import { count, first, oneSeed } from "./settings.js";
import { FaultCounts } from "./world/faults.js";

/** Seeds that are reported in full when they fail; the others are counted. */
const REPORTED = 5;

/** The half of the seeds that one process runs: the odd ones are 0, the even ones 1. Without settings they are the same in every run. */
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
  const more = failures.length > REPORTED ? [`and ${failures.length - REPORTED} more seeds`] : [];
  return [...failures.slice(0, REPORTED), ...more].join("\n");
}
