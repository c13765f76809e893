import type { CorsOptions as CorsPackageOptions } from "cors";
import { loadCors } from "../core/dependencies.js";
import { OriginPatterns } from "../core/http/origin.js";
import { OriginCheck } from "../core/http/origin-check.js";
import type { CorsRules } from "./decide.js";
import type { ResolvedCorsSettings } from "./settings.js";

/** A form of the rate limit headers. */
type OneForm = "draft-8" | "draft-6" | "legacy";
/** The forms of the rate limit headers; `false` sends none. */
export type RateLimitForm = OneForm | false | readonly OneForm[];

/** Response headers that a page may read by default, beside the safelisted ones: enough to understand a 429. */
function readableLimit(form: RateLimitForm): readonly string[] {
  if (typeof form === "object") return [...new Set(form.flatMap(readableOf))];
  return readableOf(form);
}

function readableOf(form: OneForm | false): readonly string[] {
  switch (form) {
    case "draft-8":
      return ["RateLimit", "RateLimit-Policy", "Retry-After"];
    case "draft-6":
      return ["RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"];
    case "legacy":
      return ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After"];
    case false:
      return ["Retry-After"];
  }
}

/** A response header, ready to be written. */
export type Field = readonly [name: string, value: string];

/** The settings, compiled for the request path. */
export interface CompiledCors {
  readonly rules: CorsRules;
  /** Response headers that a page may read, defaults filled in. */
  readonly exposedHeaders: readonly string[] | "*";
  /** Written on the answer to an allowed preflight, beside Access-Control-Allow-Origin. */
  readonly preflight: readonly Field[];
  /** Written on any other answer to an allowed origin, beside Access-Control-Allow-Origin. */
  readonly actual: readonly Field[];
  /** Status and length of a preflight's answer. */
  readonly preflightStatus: number;
  readonly preflightLength: string;
}

/**
 * Asks the function that takes the place of a list of origins; `undefined` where there is none. As in a list, an origin
 * of plain http is not trusted with credentials or with the private network.
 */
export function originCheckOf({ origins, credentials, privateNetwork }: ResolvedCorsSettings): OriginCheck | undefined {
  return typeof origins === "function" ? new OriginCheck(origins, credentials || privateNetwork) : undefined;
}

const ALLOW_ORIGIN = "Access-Control-Allow-Origin";

/** Asks the `cors` package once for the values of all headers; only the origin and Vary are written per request. */
export function compileCors(options: ResolvedCorsSettings, rateLimitHeaders: RateLimitForm = "draft-8"): CompiledCors {
  const { exposedHeaders = readableLimit(rateLimitHeaders) } = options;
  const preflight = recorded(options, exposedHeaders, "OPTIONS");
  const actual = recorded(options, exposedHeaders, "GET");
  return Object.freeze({
    rules: Object.freeze({
      origins:
        options.origins === "*"
          ? "*"
          : new OriginPatterns(typeof options.origins === "function" ? [] : options.origins),
      methods: options.methods === "*" ? "*" : new Set(options.methods),
      allowedHeaders:
        options.allowedHeaders === "*" ? "*" : new Set(options.allowedHeaders.map((name) => name.toLowerCase())),
      credentials: options.credentials,
      privateNetwork: options.privateNetwork,
    }),
    exposedHeaders,
    // The package exposes headers on a preflight too, where no page can read them (Fetch section 3.2.3).
    preflight: fieldsOf(preflight, [
      ALLOW_ORIGIN,
      "Vary",
      "Content-Length",
      "Access-Control-Expose-Headers",
      ...echoed(options),
    ]),
    actual: fieldsOf(actual, [ALLOW_ORIGIN, "Vary"]),
    preflightStatus: preflight.statusCode,
    preflightLength: preflight.fields.get("Content-Length") ?? "0",
  });
}

/** The headers whose values are written per request: with credentials, browsers do not take `*` as a wildcard. */
function echoed({ credentials, methods, allowedHeaders }: ResolvedCorsSettings): string[] {
  if (!credentials) return [];
  return [
    ...(methods === "*" ? ["Access-Control-Allow-Methods"] : []),
    ...(allowedHeaders === "*" ? ["Access-Control-Allow-Headers"] : []),
  ];
}

class RecordingResponse {
  statusCode = 0;
  readonly fields = new Map<string, string>();

  getHeader(name: string): string | undefined {
    return this.fields.get(name);
  }

  setHeader(name: string, value: string): this {
    this.fields.set(name, value);
    return this;
  }

  end(): void {
    // Nothing to send: only the headers are of interest.
  }
}

/** The headers that the package writes on the response to one method, for an allowed origin. */
function recorded(
  options: ResolvedCorsSettings,
  exposedHeaders: readonly string[] | "*",
  method: string,
): RecordingResponse {
  const origin = options.origins === "*" ? "*" : "https://allowed.invalid";
  const packageOptions: CorsPackageOptions = {
    origin,
    methods: options.methods,
    allowedHeaders: options.allowedHeaders,
    exposedHeaders: exposedHeaders === "*" ? "*" : [...exposedHeaders],
    credentials: options.credentials,
    maxAge: options.maxAge,
  };
  const response = new RecordingResponse();
  loadCors()(packageOptions)({ method, headers: { origin } }, response, () => undefined);
  return response;
}

function fieldsOf(response: RecordingResponse, without: readonly string[]): readonly Field[] {
  const fields = [...response.fields].filter(([name]) => !without.includes(name));
  return Object.freeze(fields.map((field) => Object.freeze(field)));
}
