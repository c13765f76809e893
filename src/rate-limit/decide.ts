import { sfInteger, sfString } from "../core/http/structured-fields.js";
import type { WindowOutcome } from "../stores/contracts.js";
import type { HeaderForm } from "./header-forms.js";

/** The parts of a limit that go into headers, built once at start. */
export interface LimitHeaders {
  readonly form: HeaderForm | false;
  readonly limit: number;
  readonly windowMs: number;
  /** draft-8: `"name"`, quoted. */
  readonly name: string;
  /** The complete `RateLimit-Policy` value; absent where that header has the other form. */
  readonly policy: string | undefined;
  /** The same limit in the second form that is sent. */
  readonly also: LimitHeaders | undefined;
}

/** The result of a limit for one request. */
export interface Verdict {
  readonly allowed: boolean;
  /** Units left in the window. */
  readonly remaining: number;
  /** Time until more units become free: seconds, rounded up. */
  readonly resetSeconds: number;
  /** For Retry-After: whole seconds, rounded up, at least 1; 0 when allowed. */
  readonly retryAfterSeconds: number;
}

/**
 * The constant parts of the headers. Policy values follow draft-ietf-httpapi-ratelimit-headers-08 section 3
 * (`"name";q=100;w=60`) and -06 (`100;w=60`). No partition key is sent: an unsalted hash of an address reveals the
 * address to anyone who tries all addresses.
 */
export function limitText(
  forms: HeaderForm | false | readonly HeaderForm[],
  name: string,
  limit: number,
  windowMs: number,
): LimitHeaders {
  const [form = false, second] = (typeof forms === "object" ? forms : [forms]) as readonly (HeaderForm | false)[];
  const quoted = sfString(name);
  const window = sfInteger(Math.ceil(windowMs / 1000));
  const textOf = (one: HeaderForm | false, also: LimitHeaders | undefined): LimitHeaders => {
    const policy =
      one === "draft-6" ? `${sfInteger(limit)};w=${window}` : `${quoted};q=${sfInteger(limit)};w=${window}`;
    // Both drafts define RateLimit-Policy, each in a form of its own: the newer one stays.
    const isTaken = one === "draft-6" && typeof forms === "object" && forms.includes("draft-8");
    return Object.freeze({ form: one, limit, windowMs, name: quoted, policy: isTaken ? undefined : policy, also });
  };
  return textOf(form, second === undefined ? undefined : textOf(second, undefined));
}

/** The verdict on a store's answer. Draft -08 section 4: Retry-After is not earlier than `t`; here they are equal. */
export function decide(outcome: WindowOutcome, limit: number): Verdict {
  const remaining = Math.max(0, limit - outcome.used);
  if (outcome.allowed)
    return { allowed: true, remaining, resetSeconds: Math.ceil(outcome.resetMs / 1000), retryAfterSeconds: 0 };
  const seconds = Math.max(1, Math.ceil(outcome.retryAfterMs / 1000));
  return { allowed: false, remaining, resetSeconds: seconds, retryAfterSeconds: seconds };
}

/** draft-8: one member of the `RateLimit` list. */
export function rateLimitItem(text: LimitHeaders, verdict: Verdict): string {
  return `${text.name};r=${verdict.remaining};t=${verdict.resetSeconds}`;
}

/**
 * Whether this limit's values replace those that another limit has written, in the forms with room for one limit only.
 * The refusing limit wins, then the one with fewer units left, then the one that takes longer.
 */
export function isStricter(verdict: Verdict, before: { remaining: number; resetSeconds: number }): boolean {
  if (!verdict.allowed) return true;
  if (verdict.remaining !== before.remaining) return verdict.remaining < before.remaining;
  return verdict.resetSeconds > before.resetSeconds;
}

/** The verdict that the client has to know: the refusal with the longest wait, or the one with the fewest units left. */
export function tightest<Judged extends { readonly verdict: Verdict }>(all: readonly Judged[]): Judged {
  return all.reduce((best, one) => (isTighter(one.verdict, best.verdict) ? one : best));
}

function isTighter(verdict: Verdict, best: Verdict): boolean {
  if (verdict.allowed !== best.allowed) return best.allowed;
  if (!verdict.allowed) return verdict.retryAfterSeconds > best.retryAfterSeconds;
  return isStricter(verdict, best);
}

/** legacy: when the window has room again, in seconds since the epoch. */
export function epochSeconds(verdict: Verdict, nowMs: number): number {
  return Math.ceil(nowMs / 1000 + verdict.resetSeconds);
}
