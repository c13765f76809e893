/**
 * `npx tsx test/scanners/observatory.ts`: the grade of the quickstart by the MDN HTTP Observatory, given by its own scanner
 * over real connections. Needs openssl and, the first time, the npm registry.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "../support/code-blocks.js";
import { type Outcome, print, whenStarted } from "./outcome.js";
import type { OverTls } from "./over-tls.js";
import { serveQuickstart, serveWeakApp } from "./targets.js";

const run = promisify(execFile);

const PACKAGE = "@mdn/mdn-http-observatory";
const VERSION = "1.4.8";
const WANTED = { grade: "A+", score: 125 };

interface Report {
  error?: string;
  scan: { grade: string; score: number; testsPassed: number; testsQuantity: number };
  tests: Record<string, { pass: boolean; result: string; scoreModifier: number }>;
}

export async function observatory(): Promise<Outcome> {
  const scanner = await install();
  const { scan, tests } = await graded(scanner, serveQuickstart);
  const weak = await graded(scanner, serveWeakApp);
  const enough = (report: Report["scan"]): boolean => report.grade === WANTED.grade && report.score >= WANTED.score;
  return {
    scanner: `MDN HTTP Observatory ${VERSION}`,
    passed: enough(scan) && scan.testsPassed === scan.testsQuantity && !enough(weak.scan),
    result: `${scan.grade}, ${scan.score} points (wanted: ${WANTED.grade}, ${WANTED.score}), ${scan.testsPassed} of ${scan.testsQuantity} tests`,
    details: [
      ...Object.entries(tests).map(
        ([name, { pass, result, scoreModifier }]) =>
          `${pass ? "passed" : "FAILED"} ${name}: ${result} (${scoreModifier > 0 ? "+" : ""}${scoreModifier})`,
      ),
      `the weak app, for comparison: ${weak.scan.grade}, ${weak.scan.score} points`,
    ],
  };
}

async function graded(scanner: string, serve: () => Promise<OverTls>): Promise<Report> {
  const target = await serve();
  try {
    // Its bin would put Mozilla's bundle of intermediate certificates in place of our authority; src/scan.js is what it starts.
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: target.ca, NO_PROXY: "localhost", no_proxy: "localhost" };
    const { stdout } = await run(process.execPath, [join(scanner, "src/scan.js"), target.authority], {
      env,
      timeout: 60_000,
    }).catch((failure: { stdout?: string }) => {
      if (!failure.stdout) throw failure;
      return { stdout: failure.stdout };
    });
    const report = JSON.parse(stdout) as Report;
    if (report.error !== undefined) throw new Error(`The Observatory did not grade ${target.origin}: ${report.error}`);
    // It passes what it does not reach: see that it came in by plain http, and asked for more than one page over TLS.
    if (report.tests["redirection"]?.result !== "redirection-to-https")
      throw new Error(
        `The Observatory did not follow the redirect of http://${target.authority}/: ${report.tests["redirection"]?.result}`,
      );
    if (![...target.answers.keys()].some((answer) => answer.startsWith("GET /robots.txt ")))
      throw new Error("The Observatory did not ask for robots.txt over TLS.");
    return report;
  } finally {
    await target.close();
  }
}

/**
 * Puts the package where nothing else looks for packages: it brings two hundred others, and no part of portcullis needs them.
 *
 * @returns its folder
 */
async function install(): Promise<string> {
  const prefix = join(ROOT, "node_modules/.cache/scanners", `observatory-${VERSION}`);
  const folder = join(prefix, "node_modules", PACKAGE);
  const preloaded = join(folder, "conf/hsts-preload.json");
  if (!existsSync(preloaded)) {
    print(`Installing ${PACKAGE}@${VERSION} and what it needs (130 MB) below ${prefix}`);
    mkdirSync(prefix, { recursive: true });
    await run(
      "npm",
      [
        "install",
        "--prefix",
        prefix,
        "--ignore-scripts",
        "--omit=optional",
        "--omit=dev",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
        `${PACKAGE}@${VERSION}`,
      ],
      { cwd: prefix, timeout: 200_000 },
    );
    // Its install script would download the browsers' preload list. `localhost` is not on it, so an empty list says the same.
    writeFileSync(preloaded, "{}\n");
  }
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string };
  if (version !== VERSION) throw new Error(`${folder} holds version ${version}: remove ${prefix}.`);
  return folder;
}

await whenStarted(import.meta.url, observatory);
