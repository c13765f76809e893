/**
 * `npx tsx test/scanners/wapiti.ts`: five modules of wapiti against the quickstart. Needs wapiti 3.0.4 on PATH (Debian:
 * apt-get install wapiti) and openssl. wapiti crawls, logs in by the page's form, and attacks with that session.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Outcome, whenStarted } from "./outcome.js";
import type { OverTls } from "./over-tls.js";
import { serveQuickstart, serveWeakApp } from "./targets.js";
import { type Finding, NOT_TRUE } from "./wapiti-findings.js";

const run = promisify(execFile);

const MODULES = ["http_headers", "cookieflags", "csp", "csrf", "xss"];

/** Where the crawler begins, besides the root: nothing links to the API, and without parameters there is nothing to inject. */
const STARTS = [
  "/page?name=ada",
  "/public?q=1",
  "/me?fields=id",
  "/protected?q=1",
  "/jwt-protected?q=1",
  "/tokens/jwks.json?kid=1",
  "/api-keys?page=1",
  "/nowhere?q=1",
];

/** What wapiti must have been answered, or it was blind: the page, the cookie, what is behind the cookie (400: it let wapiti in, and took no unknown field). */
const SEEN = [
  "GET / 302",
  "GET /page 200",
  "POST /login 200",
  "GET /me 200",
  "GET /public 200",
  "GET /api-keys 400",
  "GET /nowhere 404",
];

/** What the modules must find in the weak app, one category each at least. */
const IN_THE_WEAK_APP = [
  "HTTP Secure Headers",
  "HttpOnly Flag cookie",
  "Secure Flag cookie",
  "Content Security Policy Configuration",
  "Cross Site Request Forgery",
  "Cross Site Scripting",
];

export async function wapiti(): Promise<Outcome> {
  const version = await installed();
  const details: string[] = [];
  const target = await serveQuickstart();
  let answers: ReadonlyMap<string, number>;
  let untrue = 0;
  let unexplained = 0;
  try {
    const findings = await scan(target, STARTS);
    // Before this script asks for anything itself.
    answers = new Map(target.answers);
    for (const finding of findings) {
      const excuse = NOT_TRUE.find(
        ({ category, info, path }) =>
          finding.category === category && finding.info === info && (path === undefined || finding.path === path),
      );
      const proven = excuse !== undefined && (await excuse.holds(target));
      if (proven) untrue += 1;
      else unexplained += 1;
      details.push(
        `${proven ? "not true" : "TRUE"}: ${finding.category}, ${finding.method} ${finding.path}: ${finding.info}${excuse === undefined ? "" : ` [${proven ? "" : "does NOT hold: "}${excuse.reason}]`}`,
      );
    }
  } finally {
    await target.close();
  }
  const unseen = SEEN.filter((answer) => !answers.has(answer));
  const failed = [...answers.keys()].filter((answer) => / (429|5\d\d)$/.test(answer));
  const requests = [...answers.values()].reduce((sum, count) => sum + count, 0);
  details.push(`answered: ${[...answers].map(([answer, count]) => `${answer} ×${count}`).join(", ")}`);
  if (unseen.length > 0) details.push(`BLIND, never answered: ${unseen.join(", ")}`);
  if (failed.length > 0) details.push(`BLIND or broken: ${failed.join(", ")}`);

  const missed = await missedInTheWeakApp();
  details.push(
    `the weak app, for comparison: ${missed.length === 0 ? "every module found something" : `NOT found: ${missed.join(", ")}`}`,
  );
  return {
    scanner: `wapiti ${version}`,
    passed: unexplained === 0 && unseen.length === 0 && failed.length === 0 && missed.length === 0,
    result: `${unexplained} true findings and ${untrue} that are not, by ${MODULES.join(", ")}, in ${requests} requests`,
    details,
  };
}

async function missedInTheWeakApp(): Promise<string[]> {
  const weak = await serveWeakApp();
  try {
    const found = new Set((await scan(weak, [])).map(({ category }) => category));
    return IN_THE_WEAK_APP.filter((category) => !found.has(category));
  } finally {
    await weak.close();
  }
}

async function installed(): Promise<string> {
  const { stdout } = await run("wapiti", ["--version"]).catch((error: unknown) => {
    throw new Error("wapiti is not on PATH. Install it (Debian: apt-get install wapiti).", { cause: error });
  });
  const version = /Wapiti (\d[\d.]*)/.exec(stdout)?.[1];
  if (version === undefined) throw new Error(`wapiti --version said: ${stdout}`);
  return version;
}

type Flaws = Record<string, Omit<Finding, "category">[]>;

async function scan({ origin, ca }: OverTls, starts: readonly string[]): Promise<Finding[]> {
  const folder = mkdtempSync(join(tmpdir(), "portcullis-wapiti-"));
  const report = join(folder, "report.json");
  try {
    const args = [
      ...["-u", `${origin}/`, ...starts.flatMap((path) => ["-s", `${origin}${path}`])],
      ...[
        "-m",
        MODULES.join(","),
        "-l",
        "2",
        "-f",
        "json",
        "-o",
        report,
        "-v",
        "0",
        "--verify-ssl",
        "1",
        "--no-bugreport",
      ],
      ...["--store-session", join(folder, "session"), "--store-config", join(folder, "config")],
    ];
    // LANG: its categories and messages are translated. REQUESTS_CA_BUNDLE: its HTTP client is Python's requests.
    const env = {
      ...process.env,
      LANG: "C.UTF-8",
      LC_ALL: "C.UTF-8",
      LANGUAGE: "en",
      REQUESTS_CA_BUNDLE: ca,
      NO_PROXY: "localhost",
      no_proxy: "localhost",
    };
    await run("wapiti", args, { env, timeout: 180_000, maxBuffer: 2 ** 26 });
    const { vulnerabilities, anomalies } = JSON.parse(readFileSync(report, "utf8")) as {
      vulnerabilities: Flaws;
      anomalies: Flaws;
    };
    return [vulnerabilities, anomalies].flatMap((flaws) =>
      Object.entries(flaws).flatMap(([category, list]) => list.map((flaw) => ({ ...flaw, category }))),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

await whenStarted(import.meta.url, wapiti);
