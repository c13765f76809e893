import { type OriginPatterns, parseOrigin } from "../core/http/origin.js";
import { type Destination, isSameOrigin } from "../core/http/same-origin.js";
import type { Refusal } from "../core/response/problem.js";

/** The settings, compiled. */
export interface CsrfPolicy {
  readonly trusted: OriginPatterns;
  readonly sameSite: "refuse" | "allow";
  readonly unmarked: "allow" | "refuse";
}

/** What an unsafe request says about its origin and its destination. */
export interface CsrfRequest extends Destination {
  /** The values of all Sec-Fetch-Site lines. */
  readonly site: readonly string[];
  /** The values of all Origin lines. */
  readonly origin: readonly string[];
}

export type CsrfReason = "cross-site" | "same-site" | "origin-mismatch" | "null-origin" | "unmarked" | "malformed";

function refusal(reason: CsrfReason): Refusal {
  return Object.freeze({ code: "cross-origin-refused", reason });
}

const CROSS_SITE = refusal("cross-site");
const SAME_SITE = refusal("same-site");
const ORIGIN_MISMATCH = refusal("origin-mismatch");
const NULL_ORIGIN = refusal("null-origin");
const UNMARKED = refusal("unmarked");
const MALFORMED = refusal("malformed");

const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** Whether a method is not checked because it changes nothing (RFC 9110 section 9.2.1). Unknown methods are checked. */
export function isSafeMethod(method: string): boolean {
  return SAFE_METHODS.has(method);
}

/** Why an unsafe request is considered forged, or `undefined` when it is not. */
export function decideCsrf(policy: CsrfPolicy, request: CsrfRequest): Refusal | undefined {
  if (request.site.length > 1 || request.origin.length > 1) return MALFORMED;
  const site = request.site[0];
  const origin = request.origin[0];
  if (site === undefined && origin === undefined) return policy.unmarked === "allow" ? undefined : UNMARKED;
  if (origin !== undefined && policy.trusted.has(origin)) return undefined;
  switch (site) {
    case undefined:
      return checkOrigin(request, origin);
    case "same-origin":
      // Referrer-Policy: no-referrer turns a page's own Origin into `null` in its forms (Fetch standard, "append a
      // request Origin header"). An opaque origin, which sends `null` too, is never same-origin.
      return origin === "null" ? undefined : checkOrigin(request, origin, { anyPort: true });
    case "none":
      return checkOrigin(request, origin);
    case "same-site":
      return policy.sameSite === "allow" ? undefined : SAME_SITE;
    case "cross-site":
      return CROSS_SITE;
    default:
      return MALFORMED;
  }
}

/** The origin that the app's function may still trust when a request is refused; `undefined` when it names none or two. */
export function claimedOrigin({ site, origin }: CsrfRequest): string | undefined {
  return site.length > 1 || origin.length > 1 ? undefined : origin[0];
}

/**
 * Compares Origin with the host, both where Sec-Fetch-Site is missing (plain http, old browsers) and where it is
 * present: Safari before 2026 called a cross-site form "same-origin" when the user reloaded it, and sent the true
 * Origin with it (WebKit/WebKit#60289).
 */
function checkOrigin(
  request: CsrfRequest,
  origin: string | undefined,
  options?: { readonly anyPort: boolean },
): Refusal | undefined {
  if (origin === undefined) return undefined;
  if (origin === "null") return NULL_ORIGIN;
  const from = parseOrigin(origin);
  if (from === undefined) return MALFORMED;
  return isSameOrigin(from, request, options) ? undefined : ORIGIN_MISMATCH;
}
