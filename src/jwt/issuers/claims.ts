import type { AccessTokenClaims, ClaimsVerdict } from "../decide.js";
import type { TokenErrorCode } from "../errors.js";
import type { ForeignClaims } from "./mapping-settings.js";

/** The requirements for the claims of a token of another issuer, or of a former app. */
export interface ForeignPolicy {
  /** `undefined`: any. */
  readonly issuer: string | undefined;
  /** `undefined`: none, and a token with an audience is for someone else. */
  readonly audiences: ReadonlySet<string> | undefined;
  readonly audienceClaim: string;
  /**
   * Longest lifetime (`exp` − `iat`), in seconds, without leeway; a token then needs `iat` (RFC 9068 section 2.2), because
   * a revocation ends after that time. `undefined`: any.
   */
  readonly maxLifeSeconds: number | undefined;
  readonly leewaySeconds: number;
}

/** The claims that bound when a token is valid, in seconds since the epoch. */
interface Times {
  readonly exp: number;
  readonly iat?: number | undefined;
  readonly nbf?: number | undefined;
}

/**
 * Decides whether a payload whose signature matched is a valid access token. `jti` may be missing. Pure.
 *
 * @param now seconds since the epoch, with fractions
 */
export function decideForeignClaims(payload: unknown, policy: ForeignPolicy, now: number): ClaimsVerdict {
  if (typeof payload !== "object" || payload === null || Array.isArray(payload)) return refused("malformed");
  const claims = payload as Record<string, unknown>;
  const times = timesOf(claims);
  if (times === undefined) return refused("claims");
  if (policy.issuer !== undefined && claims.iss !== policy.issuer) return refused("issuer");
  if (isForAnotherPurpose(claims)) return refused("type");
  if (!audienceFits(own(claims, policy.audienceClaim), policy.audiences)) return refused("audience");
  return (
    lifeProblem(times, policy) ??
    timeVerdict(claims as AccessTokenClaims, policy.leewaySeconds, now) ?? {
      ok: true,
      claims: claims as AccessTokenClaims,
    }
  );
}

/** Why the lifetime of a token is not acceptable, if so. */
function lifeProblem({ exp, iat }: Times, { maxLifeSeconds, leewaySeconds }: ForeignPolicy): Refused | undefined {
  if (iat === undefined) return maxLifeSeconds === undefined ? undefined : refused("claims");
  const life = exp - iat;
  return life <= 0 || life > (maxLifeSeconds ?? Infinity) + leewaySeconds ? refused("lifetime") : undefined;
}

/** Why a token is not valid at this time, if so. */
export function timeVerdict({ exp, iat, nbf }: Times, leewaySeconds: number, now: number): Refused | undefined {
  if (now >= exp + leewaySeconds) return refused("expired");
  const begins = Math.max(iat ?? -Infinity, nbf ?? -Infinity);
  return begins > now + leewaySeconds ? refused("not-yet-valid") : undefined;
}

/** Own members only: a claim named `toString` is not that of Object. */
export function own(claims: ForeignClaims, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}

/** The times, when `exp` is a number, and the others are or are missing. JSON.parse reads 1e400 as Infinity. */
function timesOf({ exp, iat, nbf }: Record<string, unknown>): Times | undefined {
  if (!isNumber(exp) || (iat !== undefined && !isNumber(iat)) || (nbf !== undefined && !isNumber(nbf)))
    return undefined;
  return { exp, iat, nbf };
}

function isNumber(value: unknown): value is number {
  return Number.isFinite(value);
}

/**
 * An ID token says who logged in at the client that it was made for, and is no proof for a service (OpenID Connect Core
 * section 2; Amazon Cognito marks it by `token_use`). A security event token, such as a logout token, has `events` (RFC
 * 8417). Issuers sign all of them with the same keys.
 */
function isForAnotherPurpose(claims: ForeignClaims): boolean {
  return (
    ["nonce", "at_hash", "events"].some((name) => Object.hasOwn(claims, name)) || own(claims, "token_use") === "id"
  );
}

/** RFC 7519 section 4.1.3: one audience or a list; at least one must be ours. */
function audienceFits(aud: unknown, audiences: ReadonlySet<string> | undefined): boolean {
  if (audiences === undefined) return aud === undefined;
  if (typeof aud === "string") return audiences.has(aud);
  if (!Array.isArray(aud) || !aud.every((entry) => typeof entry === "string")) return false;
  return aud.some((entry) => audiences.has(entry));
}

type Refused = Extract<ClaimsVerdict, { ok: false }>;

function refused(code: TokenErrorCode): Refused {
  return { ok: false, code };
}
