import { randomBytes } from "node:crypto";
import type jwt from "jsonwebtoken";
import { deepFreeze } from "../../core/deep-freeze.js";
import { loadJsonwebtoken } from "../../core/dependencies.js";
import { MAX_CREDENTIAL_LENGTH } from "../../core/http/authorization.js";
import {
  decideClaims,
  isAccessTokenType,
  type AccessTokenClaims,
  type ClaimsPolicy,
  type ClaimsVerdict,
} from "../decide.js";
import { TokenError, type TokenErrorCode } from "../errors.js";
import type { Grant } from "../grant.js";
import { inspectToken } from "./inspect-token.js";
import { livesOf } from "../lives.js";
import type { KeyRing } from "../keys/key-ring.js";
import type { ResolvedJwtSettings } from "../settings.js";
import { VerifiedTokens } from "./token-cache.js";
import { verifySignature } from "./verify-signature.js";

export interface SignedAccessToken {
  readonly token: string;
  readonly jti: string;
  /** Lifetime in seconds. */
  readonly expiresIn: number;
}

/** The result of verifying an access token. `claims` is also present when the token is valid but revoked. */
export type AccessVerdict =
  | { readonly ok: true; readonly claims: AccessTokenClaims }
  | { readonly ok: false; readonly code: TokenErrorCode; readonly claims?: AccessTokenClaims };

/** The time at which a token is issued. */
export interface IssueTime {
  /** Wall clock, in milliseconds. */
  readonly now: number;
  /** The same time, or later by as much as needed to follow every revocation of the subject (see `IssueClock`). */
  readonly timestamp: number;
}

/** Signs access tokens, and performs every check of them that needs no store. */
export class AccessTokens {
  readonly #ring: KeyRing;
  readonly #policy: ClaimsPolicy;
  readonly #audience: string;
  readonly #signOptions: jwt.SignOptions;
  readonly #verified: VerifiedTokens | undefined;

  constructor(options: ResolvedJwtSettings, ring: KeyRing) {
    this.#ring = ring;
    this.#verified = options.cacheSize === 0 ? undefined : new VerifiedTokens(options.cacheSize);
    this.#audience = options.audience[0] ?? options.issuer;
    this.#policy = Object.freeze({
      issuer: options.issuer,
      audiences: new Set(options.audience),
      maxLifeSeconds: livesOf(options).access,
      leewaySeconds: options.leewaySeconds,
    });
    this.#signOptions = {
      algorithm: ring.algorithm,
      header: { alg: ring.algorithm, typ: "at+jwt", kid: ring.signingKid },
    };
  }

  /** @throws TokenError `invalid-input` when the token would be too long to be accepted again */
  sign(grant: Grant, at: IssueTime, familyId?: string): SignedAccessToken {
    const iat = Math.floor(at.now / 1000);
    const expiresIn = this.#policy.maxLifeSeconds;
    // Longer than the ids of families and the handles of sessions, so that it is not taken for one of them.
    const jti = randomBytes(18).toString("base64url");
    const claims = {
      ...grant.claims,
      iss: this.#policy.issuer,
      sub: grant.subject,
      aud: this.#audience,
      iat,
      iat_ms: at.timestamp,
      exp: iat + expiresIn,
      jti,
      scope: grant.scopes.join(" "),
      ...(grant.roles.length === 0 ? {} : { roles: grant.roles }),
      ...(familyId === undefined ? {} : { fam: familyId }),
    };
    const token = loadJsonwebtoken().sign(claims, this.#ring.signingKey, this.#signOptions);
    if (token.length > MAX_CREDENTIAL_LENGTH) {
      throw new TokenError("invalid-input", {
        message: `The token would be longer than ${MAX_CREDENTIAL_LENGTH} characters. Pass fewer scopes, roles or claims.`,
      });
    }
    return { token, jti, expiresIn };
  }

  /**
   * Checks form, type, key, signature and then claims; the payload is not read before the signature has matched (ASVS
   * 9.1.1). Never throws.
   */
  verify(token: unknown, now: number): ClaimsVerdict {
    const known = typeof token === "string" ? this.#verified?.get(token) : undefined;
    if (known === undefined) return this.#verifyNew(token, now);
    const verdict = decideClaims(known, this.#policy, now / 1000);
    if (!verdict.ok) this.#verified?.delete(token as string);
    return verdict;
  }

  #verifyNew(token: unknown, now: number): ClaimsVerdict {
    const inspection = inspectToken(token, this.#ring.algorithm);
    if (!inspection.ok) return inspection;
    if (!isAccessTokenType(inspection.header.typ)) return { ok: false, code: "type" };
    const key = this.#ring.find(inspection.header.kid);
    if (key === undefined) return { ok: false, code: "unknown-key" };
    const signature = verifySignature(token as string, key, this.#ring.algorithm);
    if (!signature.ok) return signature;
    const verdict = decideClaims(deepFreeze(signature.payload), this.#policy, now / 1000);
    if (verdict.ok) this.#verified?.add(token as string, verdict.claims);
    return verdict;
  }
}

/**
 * Returns when a token was issued, in milliseconds: from our own claim, or from `iat` in a token that another service
 * signed with our key.
 */
export function issuedAt(claims: AccessTokenClaims): number {
  return claims.iat_ms ?? Math.floor(claims.iat * 1000);
}
