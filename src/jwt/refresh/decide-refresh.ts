import type { StoredRefreshToken } from "../../stores/contracts.js";

/** How to handle a refresh token whose secret is right. */
export type RefreshDecision = "rotate" | "replay" | "reuse" | "revoked" | "expired";

/** Longest grace; also the largest clock difference between two servers at which a replay does not count as reuse. */
const MAX_GRACE_MS = 60_000;

/**
 * The rule of refresh rotation (ASVS 10.4.5, RFC 9700 section 4.14.2). A token is used once. A second use within the
 * grace time returns the same successor, so that a client that sends concurrent requests or loses a response stays
 * logged in. This requires that the successor is unused; otherwise an ancestor would work too
 * (django-oauth-toolkit#1617). Any other second use means that the token was copied: reuse. A token whose successor is
 * known to be undelivered never counts as reuse, because its owner was asked to retry. It returns the successor for as
 * long as the encrypted successor is kept, and then counts as expired. Pure.
 *
 * @param successor the token it was exchanged for, if it was and the record still exists
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
  // Checked before the token's own expiry: use of an old, already used token indicates theft while the family lives.
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
