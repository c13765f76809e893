import type { Clock } from "../core/clock.js";
import type { HeaderTarget } from "../core/response-head.js";
import { epochSeconds, isStricter, type LimitText, rateLimitItem, type Verdict } from "./decide.js";

/**
 * Writes what a limit says. Several limits may do so in one request: draft-8 is a list and takes
 * them all; the older forms have room for one, and the strictest is kept.
 *
 * @param clock for the one form that names a point in time
 */
export function writeLimitHeaders(headers: HeaderTarget, text: LimitText, verdict: Verdict, clock: Pick<Clock, "now">): void {
  if (text.form === false) return;
  if (text.form === "draft-8") {
    append(headers, "RateLimit", rateLimitItem(text, verdict));
    append(headers, "RateLimit-Policy", text.policy, text.policyLine);
  } else if (text.form === "draft-6") {
    if (!mayWrite(headers, verdict, "RateLimit-Remaining", "RateLimit-Reset", 0)) return;
    headers.setHeader("RateLimit-Policy", text.policy, text.policyLine);
    headers.setHeader("RateLimit-Limit", String(text.limit));
    headers.setHeader("RateLimit-Remaining", String(verdict.remaining));
    headers.setHeader("RateLimit-Reset", String(verdict.resetSeconds));
  } else {
    const nowMs = clock.now();
    if (!mayWrite(headers, verdict, "X-RateLimit-Remaining", "X-RateLimit-Reset", nowMs)) return;
    headers.setHeader("X-RateLimit-Limit", String(text.limit));
    headers.setHeader("X-RateLimit-Remaining", String(verdict.remaining));
    headers.setHeader("X-RateLimit-Reset", String(epochSeconds(verdict, nowMs)));
  }
}

function append(headers: HeaderTarget, name: string, item: string, line?: string): void {
  const before = headers.getHeader(name);
  if (before === undefined) headers.setHeader(name, item, line);
  else headers.setHeader(name, `${Array.isArray(before) ? before.join(", ") : String(before)}, ${item}`);
}

function mayWrite(headers: HeaderTarget, verdict: Verdict, remainingName: string, resetName: string, originMs: number): boolean {
  const remaining = headers.getHeader(remainingName);
  if (remaining === undefined) return true;
  return isStricter(verdict, { remaining: Number(remaining), resetSeconds: Number(headers.getHeader(resetName)) - originMs / 1000 });
}
