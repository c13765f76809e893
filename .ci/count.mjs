// Counts the tests of a vitest report. A skipped test fails the run unless its name says why: "… (skipped: reason)".
import { readFileSync } from "node:fs";

const { testResults } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const tests = testResults.flatMap((file) => file.assertionResults);
const unexplained = tests.filter(
  ({ status, title }) => !["passed", "failed"].includes(status) && !/\(skipped: .+\)/.test(title),
);
for (const { fullName } of unexplained) console.log(`skipped without a reason: ${fullName}`);
const broken = testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0);
for (const { name } of broken) console.log(`did not run: ${name}`);

const passed = tests.filter(({ status }) => status === "passed").length;
const failed = tests.filter(({ status }) => status === "failed").length + unexplained.length + broken.length;
console.log(`${passed} passed, ${failed} failed`);
if (failed > 0 || passed === 0) process.exit(1);
