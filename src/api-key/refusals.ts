import { challenge } from "../core/http/authorization.js";
import type { Refusal } from "../core/response/problem.js";
import type { KeyScheme } from "./decide.js";
import type { RejectedApiKey } from "./verification/result.js";

const BUSY_DETAIL = "Too many credentials are being checked at the moment. Try again shortly.";

/** The refusals of one mounted layer, built at start where possible. */
export interface KeyRefusals {
  /** The refusal of a rejected key, for the scheme that presented it. */
  of(result: RejectedApiKey, scheme: KeyScheme): Refusal;
  /** Two credentials in one request. */
  ambiguous(reason: string): Refusal;
}

export function keyRefusals(realm: string): KeyRefusals {
  const challenges = {
    // RFC 6750 section 3.1 for a bearer token; RFC 9110 section 11.6.1 requires a challenge with every 401.
    Bearer: Object.freeze({ "WWW-Authenticate": challenge("Bearer", { realm, error: "invalid_token" }) }),
    ApiKey: Object.freeze({ "WWW-Authenticate": challenge("ApiKey", { realm }) }),
  };
  const twoMethods = Object.freeze({ "WWW-Authenticate": challenge("Bearer", { realm, error: "invalid_request" }) });
  return {
    of(result, scheme) {
      const about = {
        reason: result.reason,
        ...(result.keyId === undefined ? {} : { credentialId: result.keyId, subject: result.ownerId }),
      };
      switch (result.reason) {
        case "rate-limited":
          return { ...about, code: "rate-limited", headers: retryAfter(result) };
        case "too-many-failures":
          return { ...about, code: "rate-limited", headers: retryAfter(result), event: "authn_login_fail_max" };
        case "store-unavailable":
          // The store guard has announced the outage, once.
          return { ...about, code: "store-unavailable", headers: retryAfter(result), event: false };
        case "busy":
          return { ...about, code: "store-unavailable", headers: retryAfter(result), detail: BUSY_DETAIL };
        default:
          return { ...about, code: "invalid-credentials", headers: challenges[scheme] };
      }
    },
    ambiguous: (reason) => ({ code: "ambiguous-credentials", reason, headers: twoMethods }),
  };
}

function retryAfter(result: RejectedApiKey): Record<string, string> {
  return { "Retry-After": String(result.retryAfterSeconds ?? 1) };
}
