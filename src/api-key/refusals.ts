import { challenge } from "../core/http/authorization.js";
import type { Refusal } from "../core/response/problem.js";
import type { KeyScheme } from "./decide.js";
import type { RejectedApiKey } from "./verification/result.js";

type Answer = Pick<Refusal, "code" | "detail" | "event">;

const INVALID: Answer = { code: "invalid-credentials" };
/** What is answered with a time to wait. */
const LATER: Partial<Record<RejectedApiKey["reason"], Answer>> = {
  "rate-limited": { code: "rate-limited" },
  "too-many-failures": { code: "rate-limited", event: "authn_login_fail_max" },
  // The store guard has announced the outage, once.
  "store-unavailable": { code: "store-unavailable", event: false },
  busy: {
    code: "store-unavailable",
    detail: "Too many credentials are being checked at the moment. Try again shortly.",
  },
};

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
      const later = LATER[result.reason];
      const headers = later === undefined ? challenges[scheme] : retryAfter(result);
      const { code, detail, event } = later ?? INVALID;
      // One literal: copies by spreading made a refusal slower to make and to read on Node 20.
      const { reason, keyId: credentialId, ownerId: subject } = result;
      return { code, reason, detail, headers, credentialId, subject, event };
    },
    ambiguous: (reason) => ({ code: "ambiguous-credentials", reason, headers: twoMethods }),
  };
}

function retryAfter(result: RejectedApiKey): Record<string, string> {
  return { "Retry-After": String(result.retryAfterSeconds ?? 1) };
}
