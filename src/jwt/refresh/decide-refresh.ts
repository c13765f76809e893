import type { StoredRefreshToken } from "../../stores/contracts.js";

/** What is to be done with a refresh token whose secret proved right. */
export type RefreshDecision = "rotate" | "replay" | "reuse" | "revoked" | "expired";

/** Longest grace; also how far the clocks of two servers may be apart before a replay counts as reuse. */
const MAX_GRACE_MS = 60_000;

/**
 * The rule of refresh rotation (ASVS 10.4.5, RFC 9700 section 4.14.2). A token is used once. Used again within the grace time it
 * gives the same successor, so that a client that races with itself or lost an answer stays logged in; but only while that
 * successor lies unused, or an ancestor would do (django-oauth-toolkit#1617). Otherwise somebody has a copy: reuse. A token
 * whose successor is known to have reached nobody is never reuse: its owner was told to come again. It gives the successor
 * for as long as that is sealed, and has expired then. Pure.
 *
 * @param successor the token it was exchanged for, when it was and the record is still there
 * @param now milliseconds since the epoch
 */
export function decideRefresh(
  token: StoredRefreshToken,
  successor: StoredRefreshToken | undefined,
  now: number,
  graceMs: number,
): RefreshDecision {
  if (token.revokedAt !== null) return "revoked";
  if (now >= token.familyExpiresAt) return "expired";
  // Before its own expiry: an old token that was used is still a sign of theft while the family lives.
  if (token.usedAt !== null) {
    const elapsed = now - token.usedAt;
    const isUndelivered = token.undeliveredAt != null;
    const kept = isUndelivered ? MAX_GRACE_MS : graceMs;
    const mayReplay = kept > 0 && elapsed < kept && elapsed > -MAX_GRACE_MS;
    if (mayReplay && successor !== undefined && successor.usedAt === null && successor.revokedAt === null)
      return "replay";
    return isUndelivered ? "expired" : "reuse";
  }
  return now >= token.expiresAt ? "expired" : "rotate";
}
