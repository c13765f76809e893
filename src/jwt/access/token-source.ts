import type { AccessTokenClaims, ClaimsVerdict, ForeignIdentity } from "../decide.js";
import type { TokenErrorCode } from "../errors.js";

/** Verifies all of an access token but its revocation. */
export interface TokenSource {
  /**
   * Returns no promise when the signature is known or can be verified at once. Never throws, never rejects.
   *
   * @param now milliseconds since the epoch
   */
  verify(token: unknown, now: number): ClaimsVerdict | Promise<ClaimsVerdict>;
}

/** The result of verifying an access token. `claims` is also present when the token is valid but revoked. */
export type AccessVerdict =
  | Extract<ClaimsVerdict, { ok: true }>
  | {
      readonly ok: false;
      readonly code: TokenErrorCode;
      readonly claims?: AccessTokenClaims;
      readonly foreign?: ForeignIdentity;
    };
