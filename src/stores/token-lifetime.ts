import type { StoredRefreshToken } from "./contracts.js";

/**
 * Whether a refresh token may be forgotten. An unused one expires at `expiresAt`. A used one is kept until its family
 * expires, because presenting it again reveals a theft (RFC 9700 section 4.14.2).
 */
export function tokenHasEnded(token: StoredRefreshToken, now: number): boolean {
  return token.familyExpiresAt < now || (token.usedAt === null && token.expiresAt < now);
}

/** How long after its use a token may still be exchanged for the same successor: the longest `reuseGraceSeconds`. */
const SEAL_KEPT_MS = 60_000;

/** The encrypted successors of tokens used before this time are no longer needed. */
export function sealsEndBefore(now: number): number {
  return now - SEAL_KEPT_MS;
}
