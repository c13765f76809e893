import { expect } from "vitest";
import type { Answer } from "./serve.js";

/** Every response header with a bearing on security that this library, Express, helmet or a browser standard knows. */
export const SECURITY_HEADERS = [
  "access-control-allow-credentials",
  "access-control-allow-headers",
  "access-control-allow-methods",
  "access-control-allow-origin",
  "access-control-allow-private-network",
  "access-control-expose-headers",
  "access-control-max-age",
  "clear-site-data",
  "content-security-policy",
  "content-security-policy-report-only",
  "cross-origin-embedder-policy",
  "cross-origin-embedder-policy-report-only",
  "cross-origin-opener-policy",
  "cross-origin-opener-policy-report-only",
  "cross-origin-resource-policy",
  "document-policy",
  "expect-ct",
  "feature-policy",
  "integrity-policy",
  "integrity-policy-report-only",
  "nel",
  "origin-agent-cluster",
  "permissions-policy",
  "permissions-policy-report-only",
  "public-key-pins",
  "referrer-policy",
  "report-to",
  "reporting-endpoints",
  "server",
  "server-timing",
  "strict-transport-security",
  "timing-allow-origin",
  "x-content-security-policy",
  "x-content-type-options",
  "x-dns-prefetch-control",
  "x-download-options",
  "x-frame-options",
  "x-permitted-cross-domain-policies",
  "x-powered-by",
  "x-webkit-csp",
  "x-xss-protection",
] as const;

/**
 * The world of security headers, closed: each one expected is there once with exactly that value, and none of the others is.
 *
 * @param expected by name, in any case
 */
export function expectSecurityHeaders(
  answer: Pick<Answer, "rawHeaders">,
  expected: Readonly<Record<string, string>>,
): void {
  const known = new Set<string>(SECURITY_HEADERS);
  const wanted = Object.fromEntries(Object.entries(expected).map(([name, value]) => [name.toLowerCase(), [value]]));
  for (const name of Object.keys(wanted))
    if (!known.has(name))
      throw new Error(`${name} is not in SECURITY_HEADERS: add it, or the check would not be closed.`);
  const found: Record<string, string[]> = {};
  for (let i = 0; i < answer.rawHeaders.length; i += 2) {
    const name = (answer.rawHeaders[i] ?? "").toLowerCase();
    if (known.has(name)) (found[name] ??= []).push(answer.rawHeaders[i + 1] ?? "");
  }
  expect(found).toEqual(wanted);
}
