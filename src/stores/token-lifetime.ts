import type { StoredRefreshToken } from "./contracts.js";

/**
 * Whether a refresh token may be forgotten. An unused one ends by itself at `expiresAt`; a used one is kept until its
 * family ends, because presenting it again is how a theft is noticed (RFC 9700 section 4.14.2).
 */
export function tokenHasEnded(token: StoredRefreshToken, now: number): boolean {
  return token.familyExpiresAt < now || (token.usedAt === null && token.expiresAt < now);
}

/** How long after its use a token may still be asked for the same successor: the longest `reuseGraceSeconds`. */
const SEAL_KEPT_MS = 60_000;

/** Seals of tokens used before this are of no use any more. */
export function sealsEndBefore(now: number): number {
  return now - SEAL_KEPT_MS;
}
