import type { AddressList } from "../core/http/address-list.js";
import type { Authorization } from "../core/http/authorization.js";
import { missingScopes } from "../core/scopes.js";

/** The scope an API key needs to manage keys: a key must not mint keys unless it was made for that. */
export const MANAGE_SCOPE = "api-keys:manage";

/** What one request presents. */
export interface Presented {
  /** The key header's value: Node joins several lines with a comma. */
  readonly keyHeader: string | undefined;
  readonly authorization: Authorization;
  /** A session has proved who is calling. */
  readonly hasSession: boolean;
}

export type Choice =
  | { readonly verdict: "none" }
  | { readonly verdict: "key"; readonly key: string; readonly scheme: "ApiKey" | "Bearer" }
  | { readonly verdict: "ambiguous"; readonly reason: "repeated-header" | "two-methods" | "session-and-key" };

const NONE: Choice = Object.freeze({ verdict: "none" });

/**
 * Which key a request presents. RFC 6750 section 2: a client must not use more than one method in a request; which of
 * two credentials counts would otherwise be decided differently by a proxy and by us.
 */
export function choosePresented(presented: Presented, prefix: string): Choice {
  const { keyHeader, authorization } = presented;
  if (authorization.kind === "repeated") return { verdict: "ambiguous", reason: "repeated-header" };
  // A scheme alone presents nothing.
  const bearer = authorization.kind === "credentials" && authorization.scheme === "bearer" ? authorization.value : "";
  if (keyHeader === undefined && !bearer.startsWith(prefix)) return NONE;
  if (keyHeader?.includes(",") === true) return { verdict: "ambiguous", reason: "repeated-header" };
  if (keyHeader !== undefined && bearer !== "") return { verdict: "ambiguous", reason: "two-methods" };
  if (presented.hasSession) return { verdict: "ambiguous", reason: "session-and-key" };
  return keyHeader === undefined
    ? { verdict: "key", key: bearer, scheme: "Bearer" }
    : { verdict: "key", key: keyHeader, scheme: "ApiKey" };
}

/** The state of a key that decides whether it may be used. */
export interface KeyState {
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
  readonly rotatedTo: string | null;
  readonly graceUntil: number | null;
}

/** Why a key that exists does not work. */
export type ApiKeyStateProblem = "revoked" | "expired" | "rotated";

/** Why a key does not work at `now`, or `undefined` when it does. A time that has come has passed. */
export function stateProblem(key: KeyState, now: number): ApiKeyStateProblem | undefined {
  if (key.revokedAt !== null) return "revoked";
  if (key.expiresAt !== null && now >= key.expiresAt) return "expired";
  if (key.rotatedTo !== null && (key.graceUntil === null || now >= key.graceUntil)) return "rotated";
  return undefined;
}

/** Why a key that was proved right is refused, or `undefined` when it is good. An address that is not known is on no list. */
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

/** Until when a rotated key works beside its successor: never longer than it would have worked anyway. */
export function graceEnd(now: number, graceSeconds: number, expiresAt: number | null): number {
  const end = now + graceSeconds * 1000;
  return expiresAt === null ? end : Math.min(end, expiresAt);
}

/** What a key may do, or what is asked for one. */
export interface Grants {
  readonly scopes: readonly string[];
  readonly roles: readonly string[];
  readonly expiresAt: number | null;
  readonly allow: readonly string[];
  readonly rateLimit: { readonly limit: number; readonly windowSeconds: number } | null;
}

/** What a caller has to give. `expiresAt`, `allow` and `rateLimit` bind callers that are keys themselves; null and empty: unbound. */
export type ExceededGrant = "scope" | "role" | "expiry" | "address" | "limit";

/** Makers a key may have, its maker's makers included. */
export const MAX_MAKERS = 8;

/** Who made a key: see the fields of `StoredApiKey`. */
export interface ApiKeyMaker {
  /** Id of the credential that asked for the key; null when the app did. */
  readonly madeBy: string | null;
  /** The lineage the key shares; null: it begins one. */
  readonly lineage: string | null;
  /** The makers of the key, the first one first; at most 8. */
  readonly path: readonly string[];
}

/** The maker of keys that the app's own code makes. */
export const THE_APP: ApiKeyMaker = Object.freeze({ madeBy: null, lineage: null, path: Object.freeze([]) });

/** What a key hands down to those it makes. A key without a limit begins no lineage. */
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
 * The makers of the successor when `by` rotates `key`: those of `key`. A key that gets another key of its owner by rotating
 * it is a maker of the successor, which ends with it and is counted with it.
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
 * What `wanted` has beyond `own`, or `undefined` when nothing: nobody hands out, by making a key or by rotating one,
 * what they do not hold. A key also hands out nothing that outlives it, works from more places or more often than it.
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
