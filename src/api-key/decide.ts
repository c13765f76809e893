import type { AddressList } from "../core/http/address-list.js";
import type { Authorization } from "../core/http/authorization.js";
import { missingScopes } from "../core/scopes.js";

/** The credentials that one request presents. */
export interface Presented {
  /** The key header's value: Node joins repeated headers with a comma. */
  readonly keyHeader: string | undefined;
  readonly authorization: Authorization;
  /** Whether a session has authenticated the request. */
  readonly hasSession: boolean;
}

/** How a key is presented: in the header for keys, or as `Authorization: Bearer`. */
export type KeyScheme = "ApiKey" | "Bearer";

export type Choice =
  | { readonly verdict: "none" }
  | { readonly verdict: "key"; readonly key: string; readonly scheme: KeyScheme }
  | { readonly verdict: "ambiguous"; readonly reason: "repeated-header" | "two-methods" | "session-and-key" };

const NO_PREFIXES: readonly string[] = Object.freeze([]);

export const NO_KEY: Choice = Object.freeze({ verdict: "none" });

/**
 * Decides which key a request presents. RFC 6750 section 2: a client must not use more than one method in a request.
 * With two credentials, a proxy and this layer could choose different ones.
 */
export function choosePresented(
  presented: Presented,
  prefix: string,
  formerPrefixes: readonly string[] = NO_PREFIXES,
): Choice {
  const { keyHeader, authorization } = presented;
  if (authorization.kind === "repeated") return { verdict: "ambiguous", reason: "repeated-header" };
  // A scheme without a value is not a credential.
  const bearer = authorization.kind === "credentials" && authorization.scheme === "bearer" ? authorization.value : "";
  if (keyHeader === undefined && !bearer.startsWith(prefix) && !startsWithOneOf(bearer, formerPrefixes)) return NO_KEY;
  if (keyHeader?.includes(",") === true) return { verdict: "ambiguous", reason: "repeated-header" };
  if (keyHeader !== undefined && bearer !== "") return { verdict: "ambiguous", reason: "two-methods" };
  if (presented.hasSession) return { verdict: "ambiguous", reason: "session-and-key" };
  return keyHeader === undefined
    ? { verdict: "key", key: bearer, scheme: "Bearer" }
    : { verdict: "key", key: keyHeader, scheme: "ApiKey" };
}

function startsWithOneOf(text: string, prefixes: readonly string[]): boolean {
  return prefixes.length > 0 && prefixes.some((prefix) => text.startsWith(prefix));
}

/** The state that decides whether a key may be used. */
export interface KeyState {
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
  readonly rotatedTo: string | null;
  readonly graceUntil: number | null;
}

/** The reason why an existing key is not valid. */
export type ApiKeyStateProblem = "revoked" | "expired" | "rotated";

/** Returns why a key is not valid at `now`, or `undefined` when it is. A time equal to `now` counts as past. */
export function stateProblem(key: KeyState, now: number): ApiKeyStateProblem | undefined {
  if (key.revokedAt !== null) return "revoked";
  if (key.expiresAt !== null && now >= key.expiresAt) return "expired";
  if (key.rotatedTo !== null && (key.graceUntil === null || now >= key.graceUntil)) return "rotated";
  return undefined;
}

/** Returns why a verified key is refused, or `undefined` when it is valid. An unknown address is on no list. */
export function checkKey(
  key: KeyState,
  allow: AddressList | undefined,
  now: number,
  address: string | undefined,
): ApiKeyStateProblem | "address-not-allowed" | undefined {
  const problem = stateProblem(key, now);
  if (problem !== undefined) return problem;
  if (allow !== undefined && (address === undefined || !allow.has(address))) return "address-not-allowed";
  return undefined;
}

/** `graceUntil` in the record of a key that was rotated without a grace period. */
export const NO_GRACE = 0;

/**
 * Returns the end of a rotated key's grace period, which never exceeds the key's own expiry. Without one it is the
 * beginning of time, not now: a process whose clock is behind must refuse the key too.
 */
export function graceEnd(now: number, graceSeconds: number, expiresAt: number | null): number {
  if (graceSeconds === 0) return NO_GRACE;
  const end = now + graceSeconds * 1000;
  return expiresAt === null ? end : Math.min(end, expiresAt);
}

/** The grants that a key has, or that a caller requests for one. */
export interface Grants {
  readonly scopes: readonly string[];
  readonly roles: readonly string[];
  readonly expiresAt: number | null;
  readonly allow: readonly string[];
  readonly rateLimit: { readonly limit: number; readonly windowSeconds: number } | null;
}

/**
 * The kind of grant that a request exceeds. `expiresAt`, `allow` and `rateLimit` restrict callers that are API keys
 * themselves; null and empty mean unrestricted.
 */
export type ExceededGrant = "scope" | "role" | "expiry" | "address" | "limit";

/** Maximum number of makers of a key, its maker's makers included. */
export const MAX_MAKERS = 8;

/** The maker of a key: see the fields of `StoredApiKey`. */
export interface ApiKeyMaker {
  /** Id of the credential that asked for the key; null when the app did. */
  readonly madeBy: string | null;
  /** The lineage that the key shares; null: it begins a new one. */
  readonly lineage: string | null;
  /** The makers of the key, in order of creation; at most 8. */
  readonly path: readonly string[];
}

/** The maker of keys that the app's own code makes. */
export const THE_APP: ApiKeyMaker = Object.freeze({ madeBy: null, lineage: null, path: Object.freeze([]) });

/** Returns the maker for keys that this key creates. A key without a limit begins no lineage. */
export function makerOf(key: {
  readonly id: string;
  readonly lineage: string;
  readonly firstId: string;
  readonly path: readonly string[];
  readonly rateLimit: object | null;
}): ApiKeyMaker {
  return { madeBy: key.id, lineage: key.rateLimit === null ? null : key.lineage, path: [...key.path, key.firstId] };
}

type Descent = ApiKeyMaker & {
  readonly id: string;
  readonly lineage: string;
  readonly firstId: string;
  readonly rateLimit: object | null;
};

/**
 * Returns the makers of the successor when `by` rotates `key`: those of `key`. When a key rotates another key of its
 * owner, it becomes a maker of the successor: the successor ends with it and shares its limit.
 */
export function successorOf(key: Descent, by: Descent | undefined): ApiKeyMaker {
  const { madeBy, lineage, path } = key;
  if (by === undefined || key.firstId === by.firstId || path.includes(by.firstId)) return { madeBy, lineage, path };
  const added = makerOf(by);
  return {
    madeBy: by.id,
    lineage: added.lineage ?? lineage,
    path: [...new Set([...path, ...added.path])].filter((id) => id !== key.firstId),
  };
}

/**
 * Returns the first grant in which `wanted` exceeds `own`, or `undefined`: no caller can grant, by creating or rotating
 * a key, more than the caller has. A key also cannot grant a later expiry, more addresses or a higher limit than its
 * own.
 */
export function exceededGrant(
  own: Grants,
  wanted: Grants,
  ownAllow: AddressList | undefined,
): ExceededGrant | undefined {
  if (missingScopes(own.scopes, wanted.scopes).length > 0) return "scope";
  if (wanted.roles.some((role) => !own.roles.includes(role))) return "role";
  if (own.expiresAt !== null && (wanted.expiresAt === null || wanted.expiresAt > own.expiresAt)) return "expiry";
  if (
    ownAllow !== undefined &&
    (wanted.allow.length === 0 || !wanted.allow.every((entry) => own.allow.includes(entry) || ownAllow.has(entry)))
  )
    return "address";
  if (own.rateLimit !== null && (wanted.rateLimit === null || isOtherOrLooser(wanted.rateLimit, own.rateLimit)))
    return "limit";
  return undefined;
}

/** Keys of one lineage are counted in one log, which has one window. */
function isOtherOrLooser(
  one: { limit: number; windowSeconds: number },
  other: { limit: number; windowSeconds: number },
): boolean {
  return one.windowSeconds !== other.windowSeconds || one.limit > other.limit;
}
