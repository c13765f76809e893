import { MAX_ORIGIN_LENGTH, type OriginPatterns, parseOrigin } from "../core/http/origin.js";
import { isForbiddenMethod, isToken } from "./names.js";

/** What the settings come down to. */
export interface CorsRules {
  readonly origins: OriginPatterns | "*";
  readonly methods: ReadonlySet<string> | "*";
  /** Names in lower case. A list may hold `*` beside `authorization`, which it does not cover. */
  readonly allowedHeaders: ReadonlySet<string> | "*";
  /** With credentials browsers take no `*`: what was asked for is written back instead. */
  readonly credentials: boolean;
  readonly privateNetwork: boolean;
}

/** What of a request the decision looks at; absent fields are `undefined`. Node joins repeated fields by ", ". */
export interface CorsInput {
  readonly method: string;
  readonly origin: string | undefined;
  readonly requestedMethod: string | undefined;
  readonly requestedHeaders: string | undefined;
  readonly requestedPrivateNetwork: string | undefined;
  /** Sec-Fetch-Site: written by the browser alone (Fetch Metadata section 2.3). */
  readonly fetchSite: string | undefined;
  /** Host and port this request was sent to, as the field has them. */
  readonly host: string | undefined;
  /** The port in X-Forwarded-Port of a trusted proxy. */
  readonly forwardedPort: number | undefined;
  /** Whether it came over TLS, by the connection or a trusted proxy. */
  readonly secure: boolean;
}

const ORIGIN_REASONS = ["unlisted-origin", "null-origin", "malformed-origin", "several-origins"] as const;
/** Why the origin itself is refused. */
export type OriginReason = (typeof ORIGIN_REASONS)[number];
/** Why the preflight of a listed origin is refused. */
export type PreflightReason =
  "malformed-method" | "unlisted-method" | "malformed-headers" | "too-many-headers" | "unlisted-header";

export type CorsVerdict =
  | { readonly kind: "not-cors"; readonly reason: "no-origin" | "same-origin" }
  | { readonly kind: "allowed"; readonly reason: "listed-origin" | "any-origin" }
  | { readonly kind: "refused"; readonly reason: OriginReason }
  | {
      readonly kind: "preflight-allowed";
      readonly reason: "listed-origin" | "any-origin";
      readonly privateNetwork: boolean;
      /** The method and the request headers to be written back, in place of a `*` that browsers do not take. */
      readonly method?: string;
      readonly headers?: string;
    }
  | { readonly kind: "preflight-refused"; readonly reason: OriginReason | PreflightReason };

/** Longest Access-Control-Request-Headers read, in characters. Browsers send the few names a page sets. */
export const MAX_REQUESTED_HEADERS_LENGTH = 4096;
/** Empty elements a list may have before it is refused: RFC 9110 section 5.6.1.2 wants "a reasonable number" taken. */
const MAX_EMPTY_ELEMENTS = 16;

const NO_ORIGIN: CorsVerdict = Object.freeze({ kind: "not-cors", reason: "no-origin" });
const SAME_ORIGIN: CorsVerdict = Object.freeze({ kind: "not-cors", reason: "same-origin" });
const LISTED: CorsVerdict = Object.freeze({ kind: "allowed", reason: "listed-origin" });
const ANY: CorsVerdict = Object.freeze({ kind: "allowed", reason: "any-origin" });

/** The whole CORS policy: Fetch section 3.2 seen from the server. */
export function decide(rules: CorsRules, input: CorsInput): CorsVerdict {
  const { origin } = input;
  if (origin === undefined) return NO_ORIGIN;
  const preflight = input.method === "OPTIONS" && input.requestedMethod !== undefined;
  const any = rules.origins === "*";
  if (rules.origins !== "*" && !rules.origins.has(origin)) {
    // Browsers send Origin with every POST, to the page's own origin too.
    if (isSameOrigin(origin, input)) return SAME_ORIGIN;
    const reason = originReason(origin);
    return preflight ? { kind: "preflight-refused", reason } : { kind: "refused", reason };
  }
  if (!preflight) return any ? ANY : LISTED;
  const names: string[] = [];
  const reason =
    methodProblem(rules, input.requestedMethod) ?? headersProblem(rules, input.requestedHeaders ?? "", names);
  if (reason !== undefined) return { kind: "preflight-refused", reason };
  return {
    kind: "preflight-allowed",
    reason: any ? "any-origin" : "listed-origin",
    privateNetwork: rules.privateNetwork && input.requestedPrivateNetwork === "true",
    ...(rules.credentials && rules.methods === "*" ? { method: input.requestedMethod } : {}),
    ...(rules.credentials && rules.allowedHeaders === "*" && names.length > 0 ? { headers: names.join(",") } : {}),
  };
}

/** True when the origin is to blame, false when a listed origin asked for too much. */
export function isOriginReason(reason: OriginReason | PreflightReason): reason is OriginReason {
  return (ORIGIN_REASONS as readonly string[]).includes(reason);
}

function originReason(origin: string): OriginReason {
  if (origin === "null") return "null-origin";
  if (origin.includes(",")) return "several-origins";
  return parseOrigin(origin) === undefined ? "malformed-origin" : "unlisted-origin";
}

/**
 * Whether the request comes from a page of its own target. Sec-Fetch-Site settles it where the browser sends it (a form
 * under `Referrer-Policy: no-referrer` has the Origin `null` even at home); else Origin is compared with Host. A secure
 * Origin also matches a plain connection, because TLS may end at a proxy we are not told of; a plain one never matches a
 * secure connection, because whoever controls the network can write that page.
 */
function isSameOrigin(origin: string, { fetchSite, host, forwardedPort, secure }: CorsInput): boolean {
  if (fetchSite === "same-origin") return true;
  if (host === undefined || host === "" || host.length > MAX_ORIGIN_LENGTH) return false;
  const name = host.toLowerCase();
  if (isOrigin(origin, name, secure)) return true;
  return forwardedPort !== undefined && isOrigin(origin, `${name.replace(/:\d*$/, "")}:${forwardedPort}`, secure);
}

function isOrigin(origin: string, name: string, secure: boolean): boolean {
  return origin === `https://${without(name, ":443")}` || (!secure && origin === `http://${without(name, ":80")}`);
}

/** Some proxies write the default port into Host; Origin never has it. */
function without(host: string, port: string): string {
  return host.endsWith(port) ? host.slice(0, -port.length) : host;
}

/** Methods are compared with case (RFC 9110 section 9.1). The unlisted safelisted ones are refused too, as they are asked for. */
function methodProblem(rules: CorsRules, method: string | undefined): PreflightReason | undefined {
  if (method === undefined || !isToken(method)) return "malformed-method";
  if (rules.methods === "*") return isForbiddenMethod(method) ? "unlisted-method" : undefined;
  return rules.methods.has(method) ? undefined : "unlisted-method";
}

/**
 * Reads Access-Control-Request-Headers once, from left to right. Fetch sends it in lower case, sorted, unique and without
 * spaces; gateways split and space it (rs/cors#184), so case, order and white space are left free, and only the amount is
 * bounded (rs/cors#170: 121 MB for one field full of commas).
 *
 * @param names takes the names that are allowed, in lower case
 */
function headersProblem(rules: CorsRules, list: string, names: string[]): PreflightReason | undefined {
  if (list.length === 0) return undefined;
  if (list.length > MAX_REQUESTED_HEADERS_LENGTH) return "too-many-headers";
  let empty = 0;
  let start = 0;
  while (start <= list.length) {
    const comma = list.indexOf(",", start);
    const end = comma === -1 ? list.length : comma;
    const name = trimmed(list, start, end);
    start = end + 1;
    if (name === "") {
      empty += 1;
      if (empty > MAX_EMPTY_ELEMENTS) return "malformed-headers";
      continue;
    }
    const lowerCaseName = name.toLowerCase();
    const problem = headerProblem(rules, lowerCaseName);
    if (problem !== undefined) return problem;
    names.push(lowerCaseName);
  }
  return undefined;
}

function headerProblem(rules: CorsRules, name: string): PreflightReason | undefined {
  if (rules.allowedHeaders !== "*" && rules.allowedHeaders.has(name)) return undefined;
  if (!isToken(name)) return "malformed-headers";
  if (rules.allowedHeaders !== "*") return rules.allowedHeaders.has("*") ? undefined : "unlisted-header";
  // Fetch section 4.8: the wildcard does not cover Authorization. Names that are written back do.
  return name !== "authorization" || rules.credentials ? undefined : "unlisted-header";
}

/** The part of `text` without space and tab at its ends (RFC 9110 section 5.6.3; `trim` would take more). */
function trimmed(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
