import type { Authorization } from "../core/http/authorization.js";
import { MAX_ID_LENGTH } from "../core/identity.js";
import type { TokenErrorCode } from "./errors.js";

/** The checked claims of an access token (RFC 9068 section 2.2), with the claims that the app added at `issue`. */
export interface AccessTokenClaims {
  /** The issuer. */
  readonly iss: string;
  /** The subject: id of a user or service. */
  readonly sub: string;
  /** The audience, one or several. */
  readonly aud: string | readonly string[];
  /** Expiry, in seconds since the epoch. */
  readonly exp: number;
  /** Time of issue, in seconds since the epoch. */
  readonly iat: number;
  /** The token is not valid before this time, in seconds since the epoch. */
  readonly nbf?: number;
  /** Id of the token. */
  readonly jti: string;
  /** Scopes separated by spaces (RFC 8693 section 4.2). */
  readonly scope?: string;
  /** Roles of the subject. */
  readonly roles?: readonly string[];
  /** The family of refresh tokens that the token was issued with. */
  readonly fam?: string;
  /** Time of issue, in milliseconds: `iat` is too coarse to decide whether a revocation of the subject came later. */
  readonly iat_ms?: number;
  /** When the subject was authenticated, in seconds since the epoch (OpenID Connect Core section 2). */
  readonly auth_time?: unknown;
  /** How the subject was authenticated: `pwd`, `otp` or `pop` (RFC 8176), `recovery`, `federated`, `key`, `token`. */
  readonly amr?: unknown;
  /** When each entry of `amr` was proved, in seconds since the epoch; absent when all were at `auth_time`. */
  readonly amr_times?: unknown;
  readonly [name: string]: unknown;
}

/** The requirements for the claims of a token. */
export interface ClaimsPolicy {
  readonly issuer: string;
  readonly audiences: ReadonlySet<string>;
  /** Longest lifetime (`exp` − `iat`), in seconds, without leeway. */
  readonly maxLifeSeconds: number;
  readonly leewaySeconds: number;
}

export type ClaimsVerdict =
  | {
      readonly ok: true;
      readonly claims: AccessTokenClaims;
      /** Only of a token that this manager has not issued: in place of what its claims say. */
      readonly foreign?: ForeignIdentity;
    }
  | { readonly ok: false; readonly code: TokenErrorCode };

/** The caller that a token of another issuer, or of a former app, stands for. */
export interface ForeignIdentity {
  /** The issuer in the settings; `undefined` for a token of a former app, whose ids are this app's own. */
  readonly issuer: string | undefined;
  /** Id of the principal. */
  readonly id: string;
  readonly scopes: readonly string[];
  readonly roles: readonly string[];
  /** The `jti`, or a hash of a token that has none. */
  readonly credentialId: string;
  /** The token among those of all issuers (`foreignTokenName`); `undefined` for a token of a former app. */
  readonly tokenName: string | undefined;
  /** Milliseconds since the epoch; 0 when the token does not say it. */
  readonly issuedAt: number;
}

/**
 * RFC 9068 section 2.1: an access token has its own type in the header, so that another token signed with the same key
 * is not accepted as one. Media types are compared case-insensitively, and `application/` may be omitted (RFC 7515
 * section 4.1.9).
 */
export function isAccessTokenType(typ: unknown): boolean {
  if (typ === "at+jwt") return true;
  if (typeof typ !== "string" || typ.length > 32) return false;
  const lower = typ.toLowerCase();
  return lower === "at+jwt" || lower === "application/at+jwt";
}

/**
 * Decides whether a payload whose signature matched is a valid access token. Every required claim must be present and
 * have the right type; jsonwebtoken would accept a token without `exp`, with `exp: 1e400` (never ends), or with an
 * array as payload. Pure.
 *
 * @param now seconds since the epoch, with fractions
 */
export function decideClaims(payload: unknown, policy: ClaimsPolicy, now: number): ClaimsVerdict {
  if (typeof payload !== "object" || payload === null || Array.isArray(payload)) return refused("malformed");
  const claims = payload as Record<string, unknown>;
  const { exp, iat, nbf } = claims;
  if (!isText(claims.sub) || !isText(claims.jti) || claims.jti.length > MAX_ID_LENGTH) return refused("claims");
  if (!Number.isSafeInteger(exp) || !Number.isFinite(iat) || (nbf !== undefined && !Number.isFinite(nbf)))
    return refused("claims");
  if (!optionalClaimsFit(claims)) return refused("claims");
  if (claims.iss !== policy.issuer) return refused("issuer");
  if (!audienceFits(claims.aud, policy.audiences)) return refused("audience");
  return timesVerdict(claims as AccessTokenClaims, policy, now);
}

function timesVerdict(claims: AccessTokenClaims, policy: ClaimsPolicy, now: number): ClaimsVerdict {
  const { exp, iat, nbf } = claims;
  const life = exp - iat;
  if (life <= 0 || life > policy.maxLifeSeconds + policy.leewaySeconds) return refused("lifetime");
  if (now >= exp + policy.leewaySeconds) return refused("expired");
  if (iat > now + policy.leewaySeconds || (nbf !== undefined && nbf > now + policy.leewaySeconds))
    return refused("not-yet-valid");
  return { ok: true, claims };
}

function optionalClaimsFit({ scope, roles, fam, iat_ms }: Record<string, unknown>): boolean {
  if (scope !== undefined && typeof scope !== "string") return false;
  if (roles !== undefined && !(Array.isArray(roles) && roles.every((role) => typeof role === "string"))) return false;
  if (fam !== undefined && !isText(fam)) return false;
  return iat_ms === undefined || Number.isSafeInteger(iat_ms);
}

/** RFC 7519 section 4.1.3: one audience or a list; at least one must be ours. */
function audienceFits(aud: unknown, audiences: ReadonlySet<string>): boolean {
  if (typeof aud === "string") return audiences.has(aud);
  if (!Array.isArray(aud) || !aud.every((entry) => typeof entry === "string")) return false;
  return aud.some((entry) => audiences.has(entry));
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function refused(code: TokenErrorCode): ClaimsVerdict {
  return { ok: false, code };
}

/** Returns the scopes of a token, split at spaces; an empty list when there is no such claim. */
export function scopesOf(claims: AccessTokenClaims): readonly string[] {
  if (claims.scope === undefined || claims.scope === "") return [];
  return claims.scope.split(" ").filter((scope) => scope !== "");
}

/** The credentials that one request presents. */
export interface Presented {
  readonly authorization: Authorization;
  /** Whether the API key layer has recognised the credential of this request. */
  readonly byApiKey: boolean;
  /** Whether another layer has authenticated the request. */
  readonly hasPrincipal: boolean;
}

export type Choice =
  | { readonly verdict: "none" }
  | { readonly verdict: "token"; readonly token: string }
  | { readonly verdict: "ambiguous"; readonly reason: "repeated-header" | "session-and-token" };

const NONE: Choice = Object.freeze({ verdict: "none" });
const REPEATED: Choice = Object.freeze({ verdict: "ambiguous", reason: "repeated-header" });
const TWO_PROOFS: Choice = Object.freeze({ verdict: "ambiguous", reason: "session-and-token" });

/**
 * Decides which token a request presents. Only `Authorization: Bearer` is read: a token in a query ends up in logs (RFC
 * 9700 section 4.3.2), and any page can send one in a form body. Pure.
 */
export function choosePresented({ authorization, byApiKey, hasPrincipal }: Presented): Choice {
  if (authorization.kind === "none" || byApiKey) return NONE;
  if (authorization.kind === "repeated") return REPEATED;
  if (authorization.scheme !== "bearer") return NONE;
  // A value that is empty or has several words counts as a token, which then fails verification.
  return hasPrincipal ? TWO_PROOFS : { verdict: "token", token: authorization.value };
}
