import {
  type Authentication,
  type AuthenticationMethod,
  type AuthenticationMethodName,
  only,
} from "../core/authentication.js";
import type { JsonValue } from "../stores/contracts.js";

/**
 * `amr` of each method. The values of RFC 8176 section 2 where there is one: `otp` for a TOTP, `pop` for the key behind a
 * passkey, which need not be in hardware. The others have our own names.
 */
const AMR: Readonly<Record<AuthenticationMethodName, string>> = {
  pwd: "pwd",
  totp: "otp",
  webauthn: "pop",
  recovery: "recovery",
  federated: "federated",
  key: "key",
  token: "token",
};

const METHOD_OF: ReadonlyMap<unknown, AuthenticationMethodName> = new Map(
  Object.entries(AMR).map(([method, amr]) => [amr, method as AuthenticationMethodName]),
);

/** Most entries of `amr` that are read. */
const MAX_METHODS = 16;

/** The claims that say how the subject was authenticated. */
export const AUTHENTICATION_CLAIMS = ["auth_time", "amr", "amr_times"] as const;

/**
 * The claims that say how and when the subject was authenticated (OpenID Connect Core section 2, RFC 8176). They belong
 * to a family of tokens and are the same in each of its access tokens. Times are whole seconds, rounded down.
 * `amr_times` is ours: when each entry of `amr` was proved, if that was not at `auth_time`.
 */
export function authenticationClaims({ authenticatedAt, methods }: Authentication): Record<string, JsonValue> {
  const auth_time = seconds(authenticatedAt);
  if (methods.length === 0) return { auth_time };
  const amr = methods.map(({ method }) => AMR[method]);
  const amr_times = methods.map(({ at }) => seconds(at));
  return amr_times.every((time) => time === auth_time) ? { auth_time, amr } : { auth_time, amr, amr_times };
}

/** The claims of an access token that say how its subject was authenticated. They may have any form. */
export interface AuthenticationClaims {
  /** Tokens of other issuers may have none: they are never fresh. */
  readonly iat?: number;
  readonly auth_time?: unknown;
  readonly amr?: unknown;
  readonly amr_times?: unknown;
}

/**
 * How and when the subject of a token was authenticated. A token that does not say when is never fresh, and one that
 * does not say how proves only that the caller has the token. No time is later than that of issue. Pure; never throws.
 */
export function authenticationOf({ iat = 0, auth_time, amr, amr_times }: AuthenticationClaims): Authentication {
  const authenticatedAt = milliseconds(auth_time, iat, 0);
  const times: readonly unknown[] = Array.isArray(amr_times) ? amr_times : [];
  const names: readonly unknown[] = Array.isArray(amr) ? amr.slice(0, MAX_METHODS) : [];
  const methods = names.flatMap((name, index): AuthenticationMethod[] => {
    const method = METHOD_OF.get(name);
    return method === undefined
      ? []
      : [Object.freeze({ method, at: milliseconds(times[index], iat, authenticatedAt) })];
  });
  return {
    authenticatedAt,
    methods: methods.length === 0 ? only("token", authenticatedAt) : Object.freeze(methods),
  };
}

function seconds(at: number): number {
  return Math.floor(at / 1000);
}

function milliseconds(time: unknown, iat: number, otherwise: number): number {
  return typeof time === "number" && time >= 0 ? Math.floor(Math.min(time, iat) * 1000) : otherwise;
}
