import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

export interface Outcome {
  /** Its name and version. */
  scanner: string;
  passed: boolean;
  /** In a few words. */
  result: string;
  /** One line each: what was seen, and why it counts or does not. */
  details: readonly string[];
}

export type Scan = () => Promise<Outcome>;

export const print = (text: string): void => void process.stdout.write(`${text}\n`);

export function printOutcome({ scanner, passed, result, details }: Outcome): void {
  print(`\n${scanner}: ${passed ? "passed" : "FAILED"}, ${result}`);
  for (const line of details) print(`  ${line}`);
}

/** Runs a scan when its file is what was started, and not when run.ts imports it. */
export async function whenStarted(file: string, scan: Scan): Promise<void> {
  if (resolve(process.argv[1] ?? "") !== fileURLToPath(file)) return;
  const outcome = await scan();
  printOutcome(outcome);
  process.exitCode = outcome.passed ? 0 : 1;
}
