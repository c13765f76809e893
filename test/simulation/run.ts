import { report, runSeeds, seedsOf } from "./seeds.js";

/** What a process that runs one half of the seeds sends when it has ended: see `start.ts`. */
export interface HalfOutcome {
  /** What was violated; empty when nothing was. */
  readonly report: string;
  /** How often each kind of fault was injected. */
  readonly faults: Readonly<Record<string, number>>;
}

// A run of vitest that is killed takes its processes along.
process.once("disconnect", () => process.exit(1));

const outcome = await runSeeds(seedsOf(process.argv[2] === "even" ? 1 : 0));
const half: HalfOutcome = { report: report(outcome), faults: Object.fromEntries(outcome.faults.all()) };
process.send?.(half, () => process.disconnect());
