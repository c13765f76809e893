import type { Response } from "express";
import { epochSeconds, isStricter, type LimitText, rateLimitItem, type Verdict } from "./decide.js";

/**
 * Writes what a limit says into the response. Several limits may do so in one request: draft-8 is a list and takes
 * them all; the older forms have room for one, and the strictest is kept.
 *
 * @param nowMs wall-clock time, for the one form that names a point in time
 */
export function writeLimitHeaders(res: Response, text: LimitText, verdict: Verdict, nowMs: number): void {
  if (text.form === false || res.headersSent) return;
  if (text.form === "draft-8") {
    append(res, "RateLimit", rateLimitItem(text, verdict));
    append(res, "RateLimit-Policy", text.policy);
  } else if (text.form === "draft-6") {
    if (!mayWrite(res, verdict, "RateLimit-Remaining", "RateLimit-Reset", 0)) return;
    res.setHeader("RateLimit-Policy", text.policy);
    res.setHeader("RateLimit-Limit", String(text.limit));
    res.setHeader("RateLimit-Remaining", String(verdict.remaining));
    res.setHeader("RateLimit-Reset", String(verdict.resetSeconds));
  } else {
    if (!mayWrite(res, verdict, "X-RateLimit-Remaining", "X-RateLimit-Reset", nowMs)) return;
    res.setHeader("X-RateLimit-Limit", String(text.limit));
    res.setHeader("X-RateLimit-Remaining", String(verdict.remaining));
    res.setHeader("X-RateLimit-Reset", String(epochSeconds(verdict, nowMs)));
  }
}

function append(res: Response, name: string, item: string): void {
  const before = res.getHeader(name);
  if (before === undefined) res.setHeader(name, item);
  else res.setHeader(name, `${Array.isArray(before) ? before.join(", ") : String(before)}, ${item}`);
}

function mayWrite(res: Response, verdict: Verdict, remainingName: string, resetName: string, originMs: number): boolean {
  const remaining = res.getHeader(remainingName);
  if (remaining === undefined) return true;
  return isStricter(verdict, { remaining: Number(remaining), resetSeconds: Number(res.getHeader(resetName)) - originMs / 1000 });
}
