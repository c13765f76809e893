import type { ServerResponse } from "node:http";

/** A directive with its value, which may be a quoted string (RFC 9111 section 5.2). */
const DIRECTIVE = /[^\s,=]+(?:\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s,]*))?/g;

/** Directives about storing and reuse: `no-store` contradicts them or makes them redundant. */
const ABOUT_REUSE =
  /^(?:public|max-age|s-maxage|immutable|no-cache|must-revalidate|proxy-revalidate|stale-while-revalidate|stale-if-error|must-understand|private)(?:\s*=|$)/i;

/** `no-store`, and `private` for the whole response: `private="name"` is about single headers only. */
const KEEPS_OUT = /^(?:no-store|private)$/i;

/**
 * Headers that CDNs read first: RFC 9213, and its predecessor. Node finds a name in lower case at a third of the
 * cost.
 */
const TARGETED = ["cdn-cache-control", "surrogate-control"] as const;

/** Each of these says how long the response may be stored. */
const DECIDED_BY_APP = ["cache-control", "expires", ...TARGETED] as const;

/**
 * Changes `value` so that no shared cache stores the response; directives about other matters (`no-transform`) stay.
 */
function withNoStore(value: string): string {
  const directives = value.match(DIRECTIVE) ?? [];
  if (directives.some((directive) => KEEPS_OUT.test(directive))) return value;
  return ["no-store", ...directives.filter((directive) => !ABOUT_REUSE.test(directive))].join(", ");
}

/**
 * For a response that contains a credential: a cache that stored it would serve it to others (RFC 9111 section 7.3).
 * If the app sets `private` or `no-store` itself, its value stays.
 */
export function forbidStoring(res: ServerResponse): void {
  const value = textOf(res, "cache-control");
  const wanted = withNoStore(value);
  if (wanted !== value) res.setHeader("Cache-Control", wanted);
  for (const name of TARGETED) {
    const targeted = textOf(res, name);
    if (targeted !== "" && withNoStore(targeted) !== targeted) res.removeHeader(name);
  }
}

/**
 * For a response that depends on the caller: shared caches must not serve it to others, unless the app has set its
 * own policy.
 */
export function keepPrivate(res: ServerResponse): void {
  for (const name of DECIDED_BY_APP) if (res.hasHeader(name)) return;
  res.setHeader("Cache-Control", "private");
}

function textOf(res: ServerResponse, name: string): string {
  const value = res.getHeader(name);
  return value === undefined ? "" : String(value);
}
