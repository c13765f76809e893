import { type Origin, type OriginPatterns, parseOrigin } from "../core/http/origin.js";
import { type Destination, isSameOrigin } from "../core/http/same-origin.js";
import { isForbiddenMethod, isToken } from "./names.js";

/** The settings, compiled. */
export interface CorsRules {
  /** Empty where a function of the app decides about origins. */
  readonly origins: OriginPatterns | "*";
  readonly methods: ReadonlySet<string> | "*";
  /** Names in lower case. A list may hold `*` beside `authorization`, which it does not cover. */
  readonly allowedHeaders: ReadonlySet<string> | "*";
  /** With credentials browsers do not accept `*`, so the response names what the request asked for. */
  readonly credentials: boolean;
  readonly privateNetwork: boolean;
}

/**
 * The parts of a request that the decision depends on; absent fields are `undefined`. Node joins repeated fields by ",
 * ".
 */
export interface CorsInput extends Destination {
  readonly method: string;
  readonly origin: string | undefined;
  readonly requestedMethod: string | undefined;
  readonly requestedHeaders: string | undefined;
  readonly requestedPrivateNetwork: string | undefined;
  /** Sec-Fetch-Site, which only the browser can set (Fetch Metadata section 2.3). */
  readonly fetchSite: string | undefined;
}

const ORIGIN_REASONS = ["unlisted-origin", "null-origin", "malformed-origin", "several-origins", "no-answer"] as const;
/** Why the origin itself is refused; `no-answer`: the app's function did not say whether it is trusted. */
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
      /** The method and the request headers to echo, in place of a `*` that browsers do not accept. */
      readonly method?: string;
      readonly headers?: string;
    }
  | { readonly kind: "preflight-refused"; readonly reason: OriginReason | PreflightReason };

/** Longest Access-Control-Request-Headers that is read, in characters. Browsers send the few names that a page sets. */
export const MAX_REQUESTED_HEADERS_LENGTH = 4096;
/**
 * Empty elements that a list may have before it is refused: RFC 9110 section 5.6.1.2 wants "a reasonable number"
 * accepted.
 */
const MAX_EMPTY_ELEMENTS = 16;

const NO_ORIGIN: CorsVerdict = Object.freeze({ kind: "not-cors", reason: "no-origin" });
const SAME_ORIGIN: CorsVerdict = Object.freeze({ kind: "not-cors", reason: "same-origin" });
const LISTED: CorsVerdict = Object.freeze({ kind: "allowed", reason: "listed-origin" });
const ANY: CorsVerdict = Object.freeze({ kind: "allowed", reason: "any-origin" });

/** The whole CORS policy: Fetch section 3.2 seen from the server. */
export function decide(rules: CorsRules, input: CorsInput): CorsVerdict {
  const { origin } = input;
  if (origin === undefined) return NO_ORIGIN;
  if (rules.origins === "*" || rules.origins.has(origin)) return decideTrusted(rules, input);
  // Browsers send Origin with every POST, also to the page's own origin. Sec-Fetch-Site settles it where browsers
  // send it: a form under `Referrer-Policy: no-referrer` has the Origin `null` even on its own origin.
  const parsed = parseOrigin(origin);
  if (input.fetchSite === "same-origin" || (parsed !== undefined && isSameOrigin(parsed, input))) return SAME_ORIGIN;
  return refused(input, originReason(origin, parsed));
}

/** The verdict on a request whose origin is refused. */
export function refused(input: CorsInput, reason: OriginReason): CorsVerdict {
  return isPreflight(input) ? { kind: "preflight-refused", reason } : { kind: "refused", reason };
}

function isPreflight({ method, requestedMethod }: CorsInput): boolean {
  return method === "OPTIONS" && requestedMethod !== undefined;
}

/** The verdict on a request whose origin is trusted. */
export function decideTrusted(rules: CorsRules, input: CorsInput): CorsVerdict {
  const any = rules.origins === "*";
  if (!isPreflight(input)) return any ? ANY : LISTED;
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

/** True when the origin is the reason, false when a listed origin asked for too much. */
export function isOriginReason(reason: OriginReason | PreflightReason): reason is OriginReason {
  return (ORIGIN_REASONS as readonly string[]).includes(reason);
}

function originReason(origin: string, parsed: Origin | undefined): OriginReason {
  if (origin === "null") return "null-origin";
  if (origin.includes(",")) return "several-origins";
  return parsed === undefined ? "malformed-origin" : "unlisted-origin";
}

/**
 * Methods are case-sensitive (RFC 9110 section 9.1). Safelisted methods that are not listed are refused too when a
 * preflight asks for them.
 */
function methodProblem(rules: CorsRules, method: string | undefined): PreflightReason | undefined {
  if (method === undefined || !isToken(method)) return "malformed-method";
  if (rules.methods === "*") return isForbiddenMethod(method) ? "unlisted-method" : undefined;
  return rules.methods.has(method) ? undefined : "unlisted-method";
}

/**
 * Reads Access-Control-Request-Headers once, from left to right. Fetch sends it in lower case, sorted, unique and
 * without spaces. Gateways split it and add spaces (rs/cors#184), so any case, order and white space is accepted; only
 * the amount is bounded (rs/cors#170: 121 MB for one field full of commas).
 *
 * @param names collects the allowed names, in lower case
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
  // Fetch section 4.8: the wildcard does not cover Authorization. Echoed names do.
  return name !== "authorization" || rules.credentials ? undefined : "unlisted-header";
}

/** `text` without spaces and tabs at its ends (RFC 9110 section 5.6.3; `trim` would remove more). */
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
