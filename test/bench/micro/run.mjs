/**
 * `npm run bench:micro`: what single operations cost, one process for each subject. README.md says what the rows are.
 *
 *     npm run bench:micro -- [--node <path>] [--only jwt,headers] [--rounds 5] [--ms 100] [--quick] [--src <folder>]
 */
import { spawnSync } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { versionOf } from "./support/built.mjs";
import { childArguments, options } from "./support/options.mjs";
import { print } from "./support/table.mjs";

/** Collection on the measured thread: what a row leaves to clear away is in its time, and not on another core for nothing. */
const ONE_CORE = ["--single-threaded-gc"];
/** Each subject with the arguments its Node gets; pauses are measured as a server has them. */
const SUBJECTS = new Map([
  ["limiter-decisions", ONE_CORE],
  ["limiter-memory", []],
  ["limiter-pauses", []],
  ["limiter-flood", []],
  ["list-length", ONE_CORE],
  ["api-key", ONE_CORE],
  ["jwt", ONE_CORE],
  ["headers", ONE_CORE],
]);
const PEERS = [
  "express-rate-limit",
  "rate-limiter-flexible",
  "jsonwebtoken",
  "fast-jwt",
  "jose",
  "helmet",
  "argon2",
  "mitata",
];

const unknown = options.only?.filter((name) => !SUBJECTS.has(name)) ?? [];
if (unknown.length > 0)
  throw new RangeError(`no such subject: ${unknown.join(", ")}; there are ${[...SUBJECTS.keys()].join(", ")}`);

const version = spawnSync(options.node, ["--version"], { encoding: "utf8" });
if (version.status !== 0) throw new Error(`${options.node} does not run`, { cause: version.error });
print(
  `Node ${version.stdout.trim().slice(1)}, ${cpus()[0]?.model.trim()} × ${cpus().length}, ${options.rounds} interleaved rounds of ${options.ms} ms, load ${loadavg()[0]?.toFixed(1)}`,
);
print(`${PEERS.map((name) => `${name} ${versionOf(name)}`).join(", ")}\n`);

let failed = 0;
for (const subject of options.only ?? SUBJECTS.keys()) {
  const file = fileURLToPath(new URL(`subjects/${subject}.mjs`, import.meta.url));
  const { status, signal } = spawnSync(
    options.node,
    ["--expose-gc", ...SUBJECTS.get(subject), file, ...childArguments],
    { stdio: "inherit" },
  );
  if (status === 0) continue;
  failed += 1;
  process.stderr.write(`${subject} failed\n`);
  // Somebody wants it to end.
  if (signal !== null) break;
}
process.exitCode = failed === 0 ? 0 : 1;
