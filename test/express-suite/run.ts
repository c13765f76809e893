/**
 * `npx tsx test/express-suite/run.ts <checkout of Express> [--node a,b]`: runs its tests with Express alone and on our
 * server, on each Node. Fails when a test differs for a reason that differences.ts does not have. See README.md.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { expectedIn, type Mode } from "./differences.js";

interface Results {
  /** How often a test of that title passed. */
  readonly passed: ReadonlyMap<string, number>;
  readonly failed: readonly { readonly title: string; readonly error: string }[];
}

interface Report {
  readonly passes: readonly { readonly fullTitle: string }[];
  readonly failures: readonly { readonly fullTitle: string; readonly err: { readonly message?: string } }[];
}

const SECURED = fileURLToPath(new URL("secured.cjs", import.meta.url));
const MODES: readonly Mode[] = ["classes", "secured", "protected"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { node: { type: "string", default: process.execPath } },
});
const [folder] = positionals;
if (folder === undefined) throw new Error("Name a checkout of expressjs/express, with its dependencies installed.");
const checkout = resolve(folder);
const manifestOf = (path: string): unknown => JSON.parse(readFileSync(join(checkout, path, "package.json"), "utf8"));
const { version } = manifestOf(".") as { version: string };
const { bin } = manifestOf("node_modules/mocha") as { bin: { mocha: string } };
const mocha = join(checkout, "node_modules/mocha", bin.mocha);

/** @param mode absent for Express alone */
function runSuite(node: string, mode?: Mode): Results {
  const load = ["test/support/env", ...(mode === undefined ? [] : [SECURED])].flatMap((file) => ["--require", file]);
  const args = ["--no-warnings", mocha, "--exit", ...load, "--reporter", "json", "test/", "test/acceptance/"];
  const { stdout, error } = spawnSync(node, args, {
    cwd: checkout,
    env: { ...process.env, EXPRESS_SUITE: mode },
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error !== undefined) throw error;
  const { passes, failures } = JSON.parse(stdout.slice(stdout.indexOf('{\n  "stats"'))) as Report;
  const passed = new Map<string, number>();
  for (const { fullTitle } of passes) passed.set(fullTitle, (passed.get(fullTitle) ?? 0) + 1);
  return { passed, failed: failures.map(({ fullTitle, err }) => ({ title: fullTitle, error: err.message ?? "" })) };
}

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const count = ({ passed }: Results): number => [...passed.values()].reduce((sum, times) => sum + times, 0);

/** What differs for no known reason, and what is known and does not differ. */
function surprises(mode: Mode, alone: Results, results: Results): string[] {
  const known = expectedIn(mode);
  const fewer = [...alone.passed].filter(([title, times]) => times > (results.passed.get(title) ?? 0));
  const differing = new Set(fewer.map(([title]) => title));
  const errors = new Map(results.failed.map(({ title, error }) => [title, error.split("\n", 1)[0]]));
  return [
    ...[...differing]
      .filter((title) => !known.has(title))
      .map((title) => `${mode}: ${title}: ${errors.get(title) ?? "did not run"}`),
    ...[...known.keys()]
      .filter((title) => !differing.has(title) && alone.passed.has(title))
      .map((title) => `${mode}: ${title}: is in differences.ts and passes`),
  ];
}

const found: string[] = [];
print(`Express ${version}\n\n| Node | Express alone | ${MODES.join(" | ")} |\n|---|--:|--:|--:|--:|`);
for (const node of values.node.split(",")) {
  const alone = runSuite(node);
  const nodeVersion = spawnSync(node, ["--version"], { encoding: "utf8" }).stdout.trim();
  const others = MODES.map((mode) => ({ mode, results: runSuite(node, mode) }));
  print(`| ${[nodeVersion, count(alone), ...others.map(({ results }) => count(results))].join(" | ")} |`);
  found.push(
    ...others.flatMap(({ mode, results }) => surprises(mode, alone, results)).map((line) => `${nodeVersion}, ${line}`),
  );
  for (const { title, error } of alone.failed) print(`Express alone fails: ${title}: ${error.split("\n", 1)[0]}`);
}
print(`\n${found.length === 0 ? "Every difference has its reason in differences.ts." : found.join("\n")}`);
process.exitCode = found.length === 0 ? 0 : 1;
