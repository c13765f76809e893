/**
 * `npx tsx test/scanners/csp-evaluator.ts`: what Google's CSP Evaluator finds in the policies that the quickstart sends over
 * TLS, with pages, answers and refusals. Needs openssl.
 */
import { createRequire } from "node:module";
import { evaluate } from "./findings.js";
import { type Outcome, whenStarted } from "./outcome.js";
import { serveQuickstart } from "./targets.js";

const { version } = createRequire(import.meta.url)("csp_evaluator/package.json") as { version: string };

/** A page, a redirect, an answer, and refusals of the app, of a guard and of a layer. */
const REQUESTS = [
  { path: "/page", status: 200 },
  { path: "/", status: 302 },
  { path: "/public", status: 200 },
  { path: "/nowhere", status: 404 },
  { path: "/me", status: 401 },
  { path: "/public", status: 400, headers: { Host: "evil.example" } },
];

const WEAK_POLICIES = [
  "script-src 'unsafe-inline'; object-src 'none'; base-uri 'none'",
  "script-src 'self'; base-uri 'none'; object-src *",
  "default-src https:",
  "scriptsrc 'self'",
];

export async function cspEvaluator(): Promise<Outcome> {
  const target = await serveQuickstart();
  try {
    const details: string[] = [];
    let weaknesses = 0;
    for (const { path, status, headers } of REQUESTS) {
      const reply = await target.ask(path, { headers });
      const policy = reply.headers["content-security-policy"];
      if (reply.status !== status) throw new Error(`${path} answered ${reply.status} instead of ${status}`);
      const found =
        typeof policy === "string" ? evaluate(policy) : { weaknesses: ["no policy"], accepted: [], others: [] };
      weaknesses += found.weaknesses.length;
      const findings = [...found.weaknesses, ...found.accepted, ...found.others];
      details.push(`${path} ${status}: ${findings.length === 0 ? "no findings" : findings.join("; ")}`);
    }
    const missed = WEAK_POLICIES.filter((policy) => evaluate(policy).weaknesses.length === 0);
    details.push(
      `weak policies, for comparison: ${WEAK_POLICIES.length - missed.length} of ${WEAK_POLICIES.length} found weak`,
    );
    return {
      scanner: `csp_evaluator ${version}`,
      passed: weaknesses === 0 && missed.length === 0,
      result: `${weaknesses} weaknesses in ${REQUESTS.length} answers`,
      details,
    };
  } finally {
    await target.close();
  }
}

await whenStarted(import.meta.url, cspEvaluator);
