import type { AuthenticationMethod } from "../../core/authentication.js";
import type { Runtime } from "../../core/runtime.js";
import type { StoredRefreshToken } from "../../stores/contracts.js";
import { withTimeout } from "../../stores/health/timeout.js";
import { isPlainObject } from "../../stores/json.js";
import { AUTHENTICATION_CLAIMS, authenticationOf } from "../authentication.js";
import { TokenError } from "../errors.js";
import { type Grant, grantOf } from "../grant.js";

/** How long `onRefresh` may take, in milliseconds. */
const PATIENCE_MS = 1000;

/** What a refresh token gives so far. Frozen. */
export interface RefreshGrant {
  /** Id of the user or service. */
  readonly subject: string;
  /** Scopes of the access tokens so far. */
  readonly scopes: readonly string[];
  /** Roles of the access tokens so far. */
  readonly roles: readonly string[];
  /** Further claims of the access tokens so far. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** When the subject was authenticated, in milliseconds since the epoch; 0 when that is not known. A refresh keeps it. */
  readonly authenticatedAt: number;
  /** How the subject was authenticated. A refresh keeps it. */
  readonly methods: readonly AuthenticationMethod[];
  /** Id of the family: one log-in, one device. */
  readonly familyId: string;
}

/** What a refresh token gives from now on. What is absent stays as it is. */
export interface RenewedGrant {
  /** Scopes from now on; they may be more than before. */
  readonly scopes?: readonly string[] | undefined;
  /** Roles from now on. */
  readonly roles?: readonly string[] | undefined;
  /** Further claims from now on; all of them. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
}

/** Decides at each refresh what the tokens give from now on; `null` refuses and ends the family. */
export type OnRefresh = (grant: RefreshGrant) => RenewedGrant | null | Promise<RenewedGrant | null>;

/** The result of a decision: the new grant, or `null` to end the family. */
export type Renewal = (record: StoredRefreshToken) => Promise<Grant | null>;

/** Members of the grant that the app may return unchanged, as in `{ ...grant, scopes }`. */
const FIXED = ["subject", "authenticatedAt", "methods", "familyId"] as const;
const NAMES: ReadonlySet<string> = new Set([...FIXED, "scopes", "roles", "claims"]);

/**
 * Asks the app what a refresh token gives from now on. A function that throws, takes longer than a second or returns
 * something else than a grant decides nothing: the refresh is answered with 503 and may be repeated.
 *
 * @param check rejects when a token with that grant cannot be issued
 */
export function createRenewal(
  onRefresh: OnRefresh,
  runtime: Runtime,
  check: (grant: Grant, familyId: string) => Promise<unknown>,
): Renewal {
  let hasFailed = false;
  return async function renew(record) {
    const grant = grantSoFar(record);
    try {
      const given: unknown = await withTimeout(
        Promise.resolve().then(() => onRefresh(grant)),
        PATIENCE_MS,
      );
      const renewed = given === null ? null : renewedGrant(given, grant, record);
      if (renewed !== null) await check(renewed, record.familyId);
      hasFailed = false;
      return renewed;
    } catch (cause) {
      if (!hasFailed) announce(runtime, cause);
      hasFailed = true;
      throw new TokenError("store-unavailable", { message: "jwt.onRefresh failed, so nothing was refreshed.", cause });
    }
  };
}

function grantSoFar({ subject, scopes, roles, claims, familyId, issuedAt }: StoredRefreshToken): RefreshGrant {
  const own = Object.entries(claims).filter(([name]) => !isAuthenticationClaim(name));
  return Object.freeze({
    subject,
    scopes,
    roles,
    claims: Object.freeze(Object.fromEntries(own)),
    ...authenticationOf({ iat: issuedAt / 1000, ...claims }),
    familyId,
  });
}

/** @throws TypeError or TokenError when the app returned something else than a grant */
function renewedGrant(given: unknown, grant: RefreshGrant, { claims: before }: StoredRefreshToken): Grant {
  if (!isPlainObject(given)) throw new TypeError("it must return { scopes?, roles?, claims? } or null");
  const unknown = Object.keys(given).find((name) => !NAMES.has(name));
  if (unknown !== undefined) throw new TypeError("it may return scopes, roles and claims, and nothing else");
  const changed = FIXED.find((name) => given[name] !== undefined && given[name] !== grant[name]);
  if (changed !== undefined) throw new TypeError(`it must not change ${changed}`);
  const { scopes = grant.scopes, roles = grant.roles, claims = grant.claims } = given;
  const renewed = grantOf(grant.subject, { scopes, roles, claims }, 0);
  const kept = Object.entries(before).filter(([name]) => isAuthenticationClaim(name));
  const own = Object.entries(renewed.claims).filter(([name]) => !isAuthenticationClaim(name));
  return { ...renewed, claims: Object.freeze(Object.fromEntries([...own, ...kept])) };
}

function isAuthenticationClaim(name: string): boolean {
  return (AUTHENTICATION_CLAIMS as readonly string[]).includes(name);
}

/** Once, until it has succeeded again: each refresh calls the function. */
function announce(runtime: Runtime, cause: unknown): void {
  runtime.events.emit("portcullis_misconfigured", () => ({ source: "jwt", reason: "on-refresh" }));
  process.emitWarning(
    `jwt.onRefresh failed, and tokens cannot be refreshed: ${cause instanceof Error ? cause.message : "not an Error"}`,
    { code: "PORTCULLIS_ON_REFRESH" },
  );
}
