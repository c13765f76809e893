import { type Authority, parseAuthority, sameAuthority } from "../core/http/authority.js";
import { type OriginPatterns, parseOrigin } from "../core/http/origin.js";
import type { Refusal } from "../core/response/problem.js";

/** The settings, compiled. */
export interface CsrfPolicy {
  readonly trusted: OriginPatterns;
  readonly sameSite: "refuse" | "allow";
  readonly unmarked: "allow" | "refuse";
}

/** What an unsafe request says about where it came from, and whom it is for. */
export interface CsrfRequest {
  /** The values of all Sec-Fetch-Site lines. */
  readonly site: readonly string[];
  /** The values of all Origin lines. */
  readonly origin: readonly string[];
  /** The host this request is for, as sent; `undefined` when there is none or more than one. */
  readonly host: string | undefined;
  /** The port in X-Forwarded-Port of a trusted proxy. */
  readonly forwardedPort: number | undefined;
  /** True when the request is known to have come over https. */
  readonly secure: boolean;
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

/** Whether a method is left unchecked because it changes nothing (RFC 9110 section 9.2.1). Unknown ones are checked. */
export function isSafeMethod(method: string): boolean {
  return SAFE_METHODS.has(method);
}

/** Why an unsafe request is taken for forged, or `undefined` when it is not. */
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
      // `null` is what Referrer-Policy: no-referrer makes of a page's own Origin in its forms (Fetch standard, "append a
      // request Origin header"); an opaque origin, which says `null` too, is never same-origin.
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

/**
 * Compares Origin with the host, where Sec-Fetch-Site is missing (plain http, old browsers) and also where it is there:
 * Safari before 2026 called a cross-site form "same-origin" when the user reloaded it, and sent the true Origin beside
 * (WebKit/WebKit#60289).
 *
 * @param anyPort compare host names only: the browser has compared the ports, and a proxy may have lost ours
 */
function checkOrigin(request: CsrfRequest, origin: string | undefined, { anyPort = false } = {}): Refusal | undefined {
  if (origin === undefined) return undefined;
  if (origin === "null") return NULL_ORIGIN;
  const from = parseOrigin(origin);
  if (from === undefined) return MALFORMED;
  const to = request.host === undefined ? undefined : parseAuthority(request.host);
  if (to === undefined) return ORIGIN_MISMATCH;
  // A page of http://host, which anyone on the network can write, is not the https service of that name. The reverse,
  // an https page of a service that believes it serves http, is what a proxy that ends TLS looks like.
  if (from.scheme !== "https" && (request.secure || from.scheme !== "http")) return ORIGIN_MISMATCH;
  const own: Authority = { host: withoutClosingDot(from.host), port: from.port };
  if (own.host !== to.host) return ORIGIN_MISMATCH;
  return anyPort || sameAuthority(own, to, from.scheme) || own.port === request.forwardedPort
    ? undefined
    : ORIGIN_MISMATCH;
}

function withoutClosingDot(host: string): string {
  return host.endsWith(".") ? host.slice(0, -1) : host;
}
