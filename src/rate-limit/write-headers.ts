import type { Clock } from "../core/clock.js";
import type { HeaderBuffer } from "../core/response/header-buffer.js";
import { epochSeconds, isStricter, type LimitHeaders, rateLimitItem, type Verdict } from "./decide.js";

/**
 * Writes the headers of a limit. Several limits may write in one request: draft-8 is a list and takes them all; the
 * older forms have room for one, and the strictest stays.
 *
 * @param clock for the one form that names a point in time
 */
export function writeLimitHeaders(
  headers: HeaderBuffer,
  text: LimitHeaders,
  verdict: Verdict,
  clock: Pick<Clock, "now">,
): void {
  writeForm(headers, text, verdict, clock);
  if (text.also !== undefined) writeForm(headers, text.also, verdict, clock);
}

function writeForm(headers: HeaderBuffer, text: LimitHeaders, verdict: Verdict, clock: Pick<Clock, "now">): void {
  if (text.form === false) return;
  if (text.form === "draft-8") {
    headers.append("RateLimit", rateLimitItem(text, verdict));
    if (text.policy !== undefined) headers.append("RateLimit-Policy", text.policy);
  } else if (text.form === "draft-6") {
    if (!mayWrite(headers, verdict, "RateLimit-Remaining", "RateLimit-Reset", 0)) return;
    if (text.policy !== undefined) headers.set("RateLimit-Policy", text.policy);
    headers.set("RateLimit-Limit", String(text.limit));
    headers.set("RateLimit-Remaining", String(verdict.remaining));
    headers.set("RateLimit-Reset", String(verdict.resetSeconds));
  } else {
    const nowMs = clock.now();
    if (!mayWrite(headers, verdict, "X-RateLimit-Remaining", "X-RateLimit-Reset", nowMs)) return;
    headers.set("X-RateLimit-Limit", String(text.limit));
    headers.set("X-RateLimit-Remaining", String(verdict.remaining));
    headers.set("X-RateLimit-Reset", String(epochSeconds(verdict, nowMs)));
  }
}

function mayWrite(
  headers: HeaderBuffer,
  verdict: Verdict,
  remainingName: string,
  resetName: string,
  originMs: number,
): boolean {
  const remaining = headers.get(remainingName);
  if (remaining === undefined) return true;
  return isStricter(verdict, {
    remaining: Number(remaining),
    resetSeconds: Number(headers.get(resetName)) - originMs / 1000,
  });
}
