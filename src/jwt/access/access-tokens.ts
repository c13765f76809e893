import { randomBytes, type KeyObject } from "node:crypto";
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
import { TokenError } from "../errors.js";
import type { Grant } from "../grant.js";
import type { JwtAlgorithm } from "../keys/algorithms.js";
import { livesOf } from "../lives.js";
import type { KeyRing } from "../keys/key-ring.js";
import type { ResolvedJwtSettings } from "../settings.js";
import { inspectToken } from "./inspect-token.js";
import { signWithJose, verifyWithJose } from "./jose-signatures.js";
import type { TokenSource } from "./token-source.js";
import type { VerifiedTokens } from "./token-cache.js";
import { type SignatureVerdict, verifySignature } from "./verify-signature.js";

export interface SignedAccessToken {
  readonly token: string;
  readonly jti: string;
  /** Lifetime in seconds. */
  readonly expiresIn: number;
}

/** The time at which a token is issued. */
export interface IssueTime {
  /** Wall clock, in milliseconds. */
  readonly now: number;
  /** The same time, or later by as much as needed to follow every revocation of the subject (see `IssueClock`). */
  readonly timestamp: number;
}

/** Signs access tokens, and performs every check of them that needs no store. */
export class AccessTokens implements TokenSource {
  readonly #ring: KeyRing;
  readonly #policy: ClaimsPolicy;
  readonly #audience: string;
  readonly #verified: VerifiedTokens | undefined;

  /** @param verified `undefined`: no token is remembered */
  constructor(options: ResolvedJwtSettings, ring: KeyRing, verified: VerifiedTokens | undefined) {
    this.#ring = ring;
    this.#verified = verified;
    this.#audience = options.audience[0] ?? options.issuer;
    this.#policy = Object.freeze({
      issuer: options.issuer,
      audiences: new Set(options.audience),
      maxLifeSeconds: livesOf(options).access,
      leewaySeconds: options.leewaySeconds,
    });
  }

  /** @throws TokenError (rejects) `invalid-input` when the token would be too long to be accepted again */
  async sign(grant: Grant, at: IssueTime, familyId?: string): Promise<SignedAccessToken> {
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
    const token = await signed(claims, this.#ring);
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
  verify(token: unknown, now: number): ClaimsVerdict | Promise<ClaimsVerdict> {
    const known = typeof token === "string" ? this.#verified?.get(token) : undefined;
    if (known === undefined) return this.#verifyNew(token, now);
    return this.verifyAgain(token, known, now);
  }

  /** Checks the claims of a token whose signature has matched before. */
  verifyAgain(token: unknown, known: object, now: number): ClaimsVerdict {
    const verdict = decideClaims(known, this.#policy, now / 1000);
    if (!verdict.ok) this.#verified?.delete(token as string);
    return verdict;
  }

  #verifyNew(token: unknown, now: number): ClaimsVerdict | Promise<ClaimsVerdict> {
    const inspection = inspectToken(token, this.#ring.algorithm);
    if (!inspection.ok) return inspection;
    if (!isAccessTokenType(inspection.header.typ)) return { ok: false, code: "type" };
    const key = this.#ring.find(inspection.header.kid);
    if (key === undefined) return { ok: false, code: "unknown-key" };
    const signature = checkSignature(token as string, key, this.#ring.algorithm);
    return signature instanceof Promise
      ? signature.then((verdict) => this.#verifyClaims(token as string, verdict, now))
      : this.#verifyClaims(token as string, signature, now);
  }

  #verifyClaims(token: string, signature: SignatureVerdict, now: number): ClaimsVerdict {
    if (!signature.ok) return signature;
    const verdict = decideClaims(deepFreeze(signature.payload), this.#policy, now / 1000);
    if (verdict.ok) this.#verified?.add(token, verdict.claims);
    return verdict;
  }
}

async function signed(claims: object, { algorithm, signingKid, signingKey }: KeyRing): Promise<string> {
  const header = { alg: algorithm, typ: "at+jwt", kid: signingKid };
  return algorithm === "EdDSA"
    ? signWithJose(claims, header, signingKey)
    : loadJsonwebtoken().sign(claims, signingKey, { algorithm, header });
}

/** jsonwebtoken does not implement EdDSA; jose answers later. */
function checkSignature(
  token: string,
  key: KeyObject,
  algorithm: JwtAlgorithm,
): SignatureVerdict | Promise<SignatureVerdict> {
  return algorithm === "EdDSA" ? verifyWithJose(token, key, algorithm) : verifySignature(token, key, algorithm);
}

/**
 * Returns when a token was issued, in milliseconds: from our own claim, or from `iat` in a token that another service
 * signed with our key.
 */
export function issuedAt(claims: AccessTokenClaims): number {
  return claims.iat_ms ?? Math.floor(claims.iat * 1000);
}
