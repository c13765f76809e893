// Rounds in which every row is measured once, in turn, so that whatever else the machine does disturbs all rows alike.
import { measure } from "mitata";
import { options } from "./options.mjs";
import { now } from "./time.mjs";

/**
 * One row: `run` does `operations` operations, or one when there is no number, and may return a promise. A batch is to
 * take 100 µs and more, as reading the clock takes two; it is counted whole, garbage collection included.
 *
 * @typedef {{ name: string, run: () => unknown, operations?: number }} Row
 * @typedef {{ name: string, nanoseconds: number[] }} Measured nanoseconds for each operation, one number for each round
 */

/** @param {Row[]} rows @returns {Promise<Measured[]>} */
export async function interleave(rows, { rounds = options.rounds, ms = options.ms } = {}) {
  const measured = rows.map(({ name }) => ({ name, nanoseconds: [] }));
  for (let round = -1; round < rounds; round += 1) {
    for (let turn = 0; turn < rows.length; turn += 1) {
      // Each round begins with another row: none always follows the same one, or always comes first.
      const index = (turn + round + 1) % rows.length;
      const { run, operations = 1 } = rows[index];
      // What the row before has left in the young generation is not this one's. The whole heap takes seconds with a million clients.
      globalThis.gc?.(turn === 0 ? undefined : { type: "minor" });
      // The mean of the samples, not their median: a collection hits few samples, and belongs to the cost all the same.
      const { avg } = await measure(run, {
        min_cpu_time: ms * 1e6,
        min_samples: 5,
        samples_threshold: Infinity,
        gc: false,
        now,
      });
      if (round >= 0) measured[index].nanoseconds.push(avg / operations);
    }
  }
  return measured;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The median of the ratios of the rounds: what slows a round down is in both sides of its ratio. */
export function ratio(over, under) {
  return median(over.nanoseconds.map((nanoseconds, round) => nanoseconds / under.nanoseconds[round]));
}
