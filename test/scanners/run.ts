/** `npx tsx test/scanners/run.ts`: all scanners, one after the other, and a table. README.md says what they need. */
import { cspEvaluator } from "./csp-evaluator.js";
import { observatory } from "./observatory.js";
import { type Outcome, print, printOutcome } from "./outcome.js";
import { wapiti } from "./wapiti.js";

const outcomes: Outcome[] = [];
for (const [name, scan] of Object.entries({
  "MDN HTTP Observatory": observatory,
  csp_evaluator: cspEvaluator,
  wapiti,
})) {
  // A scan that could not run has not been passed; the others are run all the same.
  const outcome = await scan().catch((error: unknown): Outcome => ({
    scanner: name,
    passed: false,
    result: "did not run",
    details: [
      error instanceof Error
        ? `${error.message}${error.cause instanceof Error ? ` (${error.cause.message})` : ""}`
        : String(error),
    ],
  }));
  printOutcome(outcome);
  outcomes.push(outcome);
}

print("\n| scanner | | result |\n|---|---|---|");
for (const { scanner, passed, result } of outcomes)
  print(`| ${scanner} | ${passed ? "passed" : "FAILED"} | ${result} |`);
process.exitCode = outcomes.every(({ passed }) => passed) ? 0 : 1;
