/**
 * Maximum length of name and value together: the size of a cookie that browsers support (RFC 6265 section 6.1, ASVS
 * 3.3.5).
 */
export const MAX_COOKIE_BYTES = 4096;

/**
 * The only accepted encoding of express-session's signed cookie: `s:`, 32 characters of base64url (192 random bits), a
 * dot and HMAC-SHA-256 in base64, percent-encoded. Any other encoding of the same bytes (`%3a`, `+` for `%2B`, quotes)
 * is refused, so that a session has exactly one cookie value.
 */
const SIGNED_ID = /^s%3A[A-Za-z0-9_-]{32}\.(?:[A-Za-z0-9]|%2B|%2F){43}$/;

/** The session cookie found in a request's Cookie header. */
export type CookieVerdict =
  | { readonly kind: "none" }
  | { readonly kind: "malformed" }
  /** Two cookies with our name: one of them was planted from another host or path (cookie tossing). */
  | { readonly kind: "duplicate" }
  | { readonly kind: "present"; readonly value: string };

const NONE = Object.freeze({ kind: "none" });
const MALFORMED: CookieVerdict = Object.freeze({ kind: "malformed" });
const DUPLICATE = Object.freeze({ kind: "duplicate" });

/** Finds our cookie and checks that it has the form this layer issues. */
export function readSessionCookie(header: string | undefined, name: string): CookieVerdict {
  const found = findCookie(header, name);
  if (found.kind === "none") return NONE;
  if (found.kind === "duplicate") return DUPLICATE;
  return SIGNED_ID.test(found.value) ? { kind: "present", value: found.value } : MALFORMED;
}

/**
 * The result of a cookie look-up: no value, several values, or one value without surrounding blanks ("" when it is too
 * long).
 */
type FoundCookie =
  { readonly kind: "none" } | { readonly kind: "duplicate" } | { readonly kind: "one"; readonly value: string };

/** Finds a cookie by RFC 6265 section 4.2.1 in a single scan of the header. */
export function findCookie(header: string | undefined, name: string): FoundCookie {
  if (header === undefined || !header.includes(name)) return NONE;
  let value: string | undefined;
  let start = 0;
  while (start < header.length) {
    let end = header.indexOf(";", start);
    if (end === -1) end = header.length;
    const equals = equalsSignOf(header, name, start, end);
    if (equals !== -1) {
      if (value !== undefined) return DUPLICATE;
      value = header.slice(equals + 1, end);
    }
    start = end + 1;
  }
  if (value === undefined) return NONE;
  return { kind: "one", value: value.length + name.length > MAX_COOKIE_BYTES ? "" : value.trim() };
}

/** Returns the position of the `=` that follows this name between `start` and `end`, or -1. */
function equalsSignOf(header: string, name: string, start: number, end: number): number {
  let at = skipBlanks(header, start, end);
  if (!header.startsWith(name, at)) return -1;
  at = skipBlanks(header, at + name.length, end);
  return at < end && header.charCodeAt(at) === 0x3d ? at : -1;
}

function skipBlanks(text: string, from: number, end: number): number {
  let at = from;
  while (at < end && (text.charCodeAt(at) === 0x20 || text.charCodeAt(at) === 0x09)) at += 1;
  return at;
}

/** The time-outs of a session, in milliseconds. */
export interface TimePolicy {
  readonly maxAgeMs: number;
  readonly absoluteMaxAgeMs: number;
  /** Minimum time between two recorded uses. */
  readonly touchAfterMs: number;
}

export interface SessionTimes {
  readonly createdAt: number;
  readonly seenAt: number;
  /** Idle time-out of this session, if its log-in set one. */
  readonly maxAgeMs?: number | undefined;
}

export type TimeVerdict = "alive" | "idle" | "absolute";

/** The idle time-out of a session, which extends a shorter absolute time-out. */
function timeOuts({ maxAgeMs }: SessionTimes, policy: TimePolicy): Pick<TimePolicy, "maxAgeMs" | "absoluteMaxAgeMs"> {
  if (maxAgeMs === undefined) return policy;
  return { maxAgeMs, absoluteMaxAgeMs: Math.max(policy.absoluteMaxAgeMs, maxAgeMs) };
}

/** Checks a session against its idle and its absolute time-out (ASVS 7.3.1 and 7.3.2). */
export function timeVerdict(times: SessionTimes, policy: TimePolicy, now: number): TimeVerdict {
  const { maxAgeMs, absoluteMaxAgeMs } = timeOuts(times, policy);
  if (now - times.createdAt >= absoluteMaxAgeMs) return "absolute";
  if (now - times.seenAt >= maxAgeMs) return "idle";
  return "alive";
}

/** Returns when a session ends if it is not used again, in milliseconds since the epoch. */
export function expiryOf(times: SessionTimes, policy: TimePolicy): number {
  const { maxAgeMs, absoluteMaxAgeMs } = timeOuts(times, policy);
  return Math.min(times.seenAt + maxAgeMs, times.createdAt + absoluteMaxAgeMs);
}

/**
 * Whether this use should be written to the store. A write on every request is not worth its cost
 * (expressjs/session#727, #891).
 */
export function isTouchDue(times: SessionTimes, policy: TimePolicy, now: number): boolean {
  const after = times.maxAgeMs === undefined ? policy.touchAfterMs : touchAfter(times.maxAgeMs);
  return now - times.seenAt >= after;
}

/**
 * Use is recorded once a minute (or every tenth of `maxAge`), so a session may expire early by that much, never late.
 */
export function timePolicy(maxAgeSeconds: number, absoluteMaxAgeSeconds: number): TimePolicy {
  const maxAgeMs = maxAgeSeconds * 1000;
  return { maxAgeMs, absoluteMaxAgeMs: absoluteMaxAgeSeconds * 1000, touchAfterMs: touchAfter(maxAgeMs) };
}

function touchAfter(maxAgeMs: number): number {
  return Math.min(60_000, maxAgeMs / 10);
}

/** Where and how a cookie is sent. */
export interface CookiePlace {
  readonly secure: boolean;
  readonly domain: string | undefined;
  readonly path: string;
}

/**
 * Returns the cookie's name with its prefix: `__Host-` binds it to this host and https; with a domain or a path of its
 * own, `__Secure-` binds it to https (RFC 6265bis section 4.1.3, ASVS 3.3.1 and 3.3.3). Over plain http browsers reject
 * both.
 */
export function cookieNameOnWire(name: string, { secure, domain, path }: CookiePlace): string {
  const bare = name.replace(/^__(?:Host|Secure)-/, "");
  if (!secure) return bare;
  if (bare !== name) return name;
  return domain === undefined && path === "/" ? `__Host-${name}` : `__Secure-${name}`;
}

/** The kind of a log-in, depending on the user the session belongs to. */
export type LoginKind = "first" | "renewal" | "other-user";

/** Returns whether a log-in is the first of this session, a re-authentication, or a log-in of another user. */
export function loginKind(previousId: string | undefined, id: string): LoginKind {
  if (previousId === undefined) return "first";
  return previousId === id ? "renewal" : "other-user";
}
