import type { Request } from "express";
import type { SecurityEvent, SecurityEventName } from "../events.js";

export interface RefusalKind {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly event: SecurityEventName;
  /** The level of the event where it is not that of its name. */
  readonly level?: SecurityEvent["level"];
}

/** The only table of refusals: codes, statuses and texts. `src/core/README.md` explains each. */
export const REFUSALS = {
  "untrusted-host": {
    status: 400,
    title: "Untrusted host",
    detail: "This service does not answer for the Host of this request.",
    event: "portcullis_untrusted_host",
  },
  "cross-origin-refused": {
    status: 403,
    title: "Cross-origin request refused",
    detail: "This request came from another origin, which is not trusted.",
    event: "malicious_csrf",
  },
  "address-refused": {
    status: 403,
    title: "Address refused",
    detail: "This resource is not available from this address.",
    event: "authz_fail",
    // A client on a list of blocked addresses causes this refusal all day.
    level: "WARN",
  },
  "rate-limited": {
    status: 429,
    title: "Too many requests",
    detail: "The rate limit is exceeded. Retry after the number of seconds in Retry-After.",
    event: "excess_rate_limit_exceeded",
  },
  "missing-credentials": {
    status: 401,
    title: "Credentials required",
    detail: "This resource requires credentials, but the request has none.",
    event: "authz_fail",
    // A page that checks whether the user is logged in causes this refusal all day.
    level: "INFO",
  },
  "invalid-credentials": {
    status: 401,
    title: "Invalid credentials",
    detail: "The credentials of this request are invalid.",
    event: "authn_login_fail",
  },
  "factor-required": {
    status: 401,
    title: "Another factor required",
    detail: "This account needs another factor. Prove it, and then send the request again.",
    event: "authz_fail",
    // A person who has not finished logging in is no attacker.
    level: "INFO",
  },
  "reauthentication-required": {
    status: 401,
    title: "Recent authentication required",
    detail: "Prove again who you are, and then send the request again. The member anyOf lists what is accepted.",
    event: "authz_fail",
    level: "INFO",
  },
  "too-many-failures": {
    status: 429,
    title: "Too many failures",
    detail: "Too many attempts have failed. Retry after the number of seconds in Retry-After.",
    event: "authn_login_fail_max",
  },
  "password-refused": {
    status: 422,
    title: "Password refused",
    detail: "This password cannot be used. The member reasons says why.",
    event: "authn_password_change_fail",
  },
  "password-too-short": {
    status: 409,
    title: "Password too short",
    detail: "Without a second factor the password would be too short. Choose a longer one, and then remove the factor.",
    event: "input_validation_fail",
  },
  "factor-needed": {
    status: 409,
    title: "Factor needed",
    detail: "This account must have a second factor, and this is its last one. Set up another one first.",
    event: "input_validation_fail",
  },
  "ambiguous-credentials": {
    status: 400,
    title: "Ambiguous credentials",
    detail: "This request has more than one credential. Send exactly one.",
    event: "input_validation_fail",
  },
  "insufficient-scope": {
    status: 403,
    title: "Insufficient scope",
    detail: "The credentials are valid but do not permit this request.",
    event: "authz_fail",
  },
  "invalid-request": {
    status: 400,
    title: "Invalid request",
    detail: "The request does not have the expected format.",
    event: "input_validation_fail",
  },
  "unsupported-media-type": {
    status: 415,
    title: "Unsupported media type",
    detail: "The body must have the content type application/json.",
    event: "input_validation_fail",
  },
  "payload-too-large": {
    status: 413,
    title: "Payload too large",
    detail: "The body of this request is too large.",
    event: "input_validation_fail",
  },
  "not-found": {
    status: 404,
    title: "Not found",
    detail: "The resource does not exist, or is not available to this caller.",
    event: "authz_fail",
  },
  conflict: {
    status: 409,
    title: "Conflict",
    detail: "The current state of the resource does not permit this request.",
    event: "input_validation_fail",
  },
  "store-unavailable": {
    status: 503,
    title: "Temporarily unavailable",
    detail: "A data store is not available at the moment. Try again shortly.",
    event: "portcullis_store_unavailable",
  },
  "protection-not-run": {
    status: 500,
    title: "Misconfigured protection",
    detail: "A guard on this route needs a protection that did not run on this request.",
    event: "portcullis_misconfigured",
  },
} as const satisfies Record<string, RefusalKind>;

/** Why a request was refused; src/core/README.md explains each code. */
export type RefusalCode = keyof typeof REFUSALS;

/**
 * A refusal as a value, which a `decide` function returns instead of throwing. It contains nothing that the caller
 * sent.
 */
export interface Refusal {
  readonly code: RefusalCode;
  /** The reason, as a word suitable for a metric label; it goes into the event, never to the caller. */
  readonly reason: string;
  /** Replaces the text of the code. Must be one of our constants, or built from settings. */
  readonly detail?: string;
  /** Extra response headers: Retry-After, WWW-Authenticate, … */
  readonly headers?: Readonly<Record<string, string>>;
  /** Further members of the body (RFC 9457 section 3.2): our constants, or built from settings. */
  readonly members?: Pick<Problem, "reasons" | "anyOf">;
  /** The credential the refusal is about, for the event. */
  readonly credentialId?: string;
  readonly subject?: string;
  /** Replaces the code's event where a more specific name exists; `false` when the caller announces it itself. */
  readonly event?: SecurityEventName | false;
  /** A path of this origin to which a browser is sent instead (303). */
  readonly redirect?: string;
  /** The answer cannot wait: a promise of `onRefusal` is not used. */
  readonly isImmediate?: boolean;
}

/** The headers of a 503: an overload, and most outages, are over a second later (RFC 9110 section 15.6.4). */
export const RETRY_SOON: Readonly<Record<string, string>> = Object.freeze({ "Retry-After": "1" });

/** The body of a refusal: RFC 9457 with our `code`. */
export interface Problem {
  /** URI of the kind of problem. */
  readonly type: string;
  /** What went wrong, the same for each refusal of this code. */
  readonly title: string;
  /** Status of the response. */
  readonly status: number;
  /** What to do about it. */
  readonly detail: string;
  /** Why the request was refused. */
  readonly code: RefusalCode;
  /** With `password-refused`: why the password cannot be used, as words. */
  readonly reasons?: readonly string[];
  /** With `reauthentication-required`: the sets of methods of which one must be proved again. */
  readonly anyOf?: readonly (readonly string[])[];
}

/** What an app may send instead of the problem body. Status and headers stay. */
export interface ReplacedBody {
  /** Content-Type of the body. */
  readonly contentType: string;
  /** The body itself. */
  readonly body: string | Buffer;
}

/** Where an app may send a browser instead: 303, with the security headers. */
export interface RefusalRedirect {
  /** A path of this origin, such as `/login`. Another origin is not allowed. */
  readonly redirect: string;
}

/**
 * Replaces the body of a refusal, or redirects; `undefined` keeps the usual body. A promise is waited for at most 250
 * milliseconds; then the usual body is sent. (When a session could not be saved, it is not waited for.)
 */
export type OnRefusal = (
  problem: Problem,
  req: Request,
) => ReplacedBody | RefusalRedirect | undefined | Promise<ReplacedBody | RefusalRedirect | undefined>;

/** RFC 9457 section 3: the body of a refusal. */
export function problemOf(refusal: Pick<Refusal, "code" | "detail" | "members">): Problem {
  const { status, title, detail } = REFUSALS[refusal.code];
  const type = `urn:problem-type:portcullis:${refusal.code}`;
  return { type, title, status, detail: refusal.detail ?? detail, code: refusal.code, ...refusal.members };
}
