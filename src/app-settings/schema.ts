import { z } from "zod";
import { apiKeySchema, type ApiKeySettings, type ResolvedApiKeySettings } from "../api-key/settings.js";
import type { OnRefusal } from "../core/response/problem.js";
import { Secret } from "../core/secret.js";
import { corsSchema, type CorsSettings, type ResolvedCorsSettings } from "../cors/settings.js";
import { csrfSchema, type CsrfSettings, type ResolvedCsrfSettings } from "../csrf/settings.js";
import { headersSchema } from "../headers/schema.js";
import type { HeadersSettings, ResolvedHeadersSettings } from "../headers/settings.js";
import { jwtSchema, type JwtSettings, type ResolvedJwtSettings } from "../jwt/settings.js";
import { rateLimitSchema, type RateLimitSettings, type ResolvedRateLimitSettings } from "../rate-limit/settings.js";
import {
  loginLimitsSchema,
  type LoginLimitSettings,
  type ResolvedLoginLimitSettings,
} from "../rate-limit/login-settings.js";
import { sessionSchema, type SessionSettings, type ResolvedSessionSettings } from "../session/settings.js";
import {
  trustedHostSchema,
  type TrustedHostSettings,
  type ResolvedTrustedHostSettings,
} from "../trusted-host/settings.js";
import { DATABASE_URL_PATTERN } from "../stores/database/url.js";
import { addressRangeSchema } from "../settings/common.js";
import { addIssue, selectSchema, settingsObject, toggleable } from "../settings/object.js";
import { secretRingSchema } from "../settings/secrets.js";

/** Names that Express gives to whole private ranges. */
const NAMED_RANGES = ["loopback", "linklocal", "uniquelocal"] as const;

/** One entry of a list of proxies. */
const proxySchema = selectSchema<string, string>((value) =>
  NAMED_RANGES.some((name) => name === value) ? z.enum(NAMED_RANGES) : addressRangeSchema,
);

/** The proxies that may report the client's address. `true` would trust every client. */
const trustProxySchema = selectSchema<false | number | readonly string[], false | number | readonly string[]>(
  (value) => {
    if (value === false) return z.literal(false);
    if (Array.isArray(value)) return z.array(proxySchema).min(1);
    if (typeof value === "number") return z.int().min(0).max(32);
    return z.unknown().superRefine((_value, context) => {
      addIssue(context, {
        code: value === true ? "unsafe-setting" : "wrong-type",
        message:
          value === true
            ? "true trusts X-Forwarded-* headers from every client, so any client can choose its own address."
            : "This must be a number of proxies or a list of addresses.",
        remedy: "Write the number of proxies in front of the app (1), or a list of their addresses or CIDR ranges.",
      });
    });
  },
);

/** A URL is stored as a `Secret`, because it may contain a password; a client instance is returned unchanged. */
function urlOr<Instance extends object>(
  pattern: RegExp,
  malformed: string,
  remedy: string,
): z.ZodType<Secret | Instance, string | Secret | Instance> {
  return selectSchema((value) => {
    if (typeof value !== "string" && !(value instanceof Secret))
      return z.custom<Instance>((given) => typeof given === "object" && given !== null && !(given instanceof Promise), {
        error: "This must be a URL or an object.",
        params: { remedy },
      });
    return z
      .union([z.string(), z.instanceof(Secret)])
      .transform((text) => (text instanceof Secret ? text : new Secret(text)))
      .superRefine((url, context) => {
        if (!pattern.test(url.reveal())) addIssue(context, { code: "wrong-value", message: malformed, remedy });
      });
  });
}

/** One secret, or a list of them. */
type SecretRing = z.input<typeof secretRingSchema>;

/** The settings by key, so that `parseSettings` can read and check each one separately. */
export const SHAPE = {
  /**
   * Root secret, at least 32 random bytes as text. Components without a secret of their own derive their key from it.
   * With a list, the first signs and all verify, so that secrets can be rotated. Default: none; required once
   * anything signs.
   */
  secretKey: selectSchema<SecretRing, readonly Secret[]>(() => secretRingSchema).optional(),
  /**
   * Development switch. It relaxes what plain http breaks (Secure cookies, HSTS, upgrade-insecure-requests) and the
   * default of `trustedHosts`, and nothing else. `applySecurity` refuses it when NODE_ENV is `production`. Default:
   * `false`.
   */
  debug: z.boolean().default(false),
  /**
   * Proxies that may report the client's address and protocol: the number of proxies in front of the app, or a list
   * of their addresses and CIDR ranges. `true` is refused, because any client could then choose its own address.
   * Default: `false`.
   */
  trustProxy: trustProxySchema.default(false),
  /**
   * Where limits, sessions and revocations are kept, shared by all processes: a `redis:` or `rediss:` URL, or a
   * client of node-redis or ioredis (Sentinel and Cluster need a client). Default: the memory of this process.
   */
  redis: urlOr<object>(
    /^rediss?:\/\/./i,
    "The Redis URL does not begin with redis:// or rediss://.",
    "Write redis://user:password@host:6379/0 (rediss:// for TLS), or pass a connected client.",
  ).optional(),
  /**
   * Prefix of every key in Redis, at most 64 characters. Apps that share one Redis need different prefixes. Default:
   * `"portcullis:"`.
   */
  redisPrefix: z
    .string()
    .max(64)
    .regex(/^[^{}]*$/, "Must not contain braces: Redis Cluster uses them for hash tags")
    .default("portcullis:"),
  /**
   * Where API keys and refresh tokens are kept: a `postgres:`, `mysql:`, `mariadb:` or `sqlite:` URL, or a Kysely
   * instance. Default: the memory of this process.
   */
  database: urlOr<object>(
    DATABASE_URL_PATTERN,
    "The database URL does not begin with postgres:, mysql:, mariadb: or sqlite:.",
    "Write postgres://user:password@host/name, mysql://…, mariadb://… or sqlite:path/to/file.db, or pass a Kysely instance.",
  ).optional(),
  /**
   * Replaces the body of a refusal: `(problem, req) => ({ contentType, body })`, `{ redirect }` to a path of this
   * origin, or `undefined` for the usual body; or a promise of one of them, which may take 250 milliseconds. Status and
   * headers stay. Default: problem details as JSON (RFC 9457), and a page for browsers.
   */
  onRefusal: z
    .custom<OnRefusal>((value) => typeof value === "function", {
      error: "This must be a function.",
      params: { remedy: "Write a function: (problem, req) => ({ contentType, body })." },
    })
    .optional(),
  /**
   * Whether `app.listen` creates its server with `security.createServer`, which is faster. `false` leaves `app.listen`
   * as Express made it. Default: `true`.
   */
  fastServer: z.boolean().default(true),
  /**
   * Security headers on every response: Content-Security-Policy, Strict-Transport-Security, Permissions-Policy and
   * the rest. `false` sends none. Default: on, with `{}`.
   */
  headers: toggleable<HeadersSettings, ResolvedHeadersSettings>(() => headersSchema).prefault({}),
  /**
   * Hosts that this service answers for: a list of names, or an object around it. Requests for any other host get
   * 400. `false` answers for every host. Default: required; with `debug`, localhost, 127.0.0.1 and [::1].
   */
  trustedHosts: toggleable<TrustedHostSettings, ResolvedTrustedHostSettings>(() => trustedHostSchema).optional(),
  /**
   * Cross-origin resource sharing: which pages of other origins may read the responses. Needs `origins`. Default:
   * `false`.
   */
  cors: toggleable<CorsSettings, ResolvedCorsSettings>(
    () => corsSchema,
    (value) =>
      typeof value === "string" || Array.isArray(value) ? '{ origins: ["https://app.example.com"] }' : undefined,
  ).default(false),
  /**
   * An exact sliding-window limit of requests per client. A client over its limit gets 429 with Retry-After. `false`
   * turns it off. Default: on, 100 requests in 60 seconds per client address.
   */
  rateLimit: toggleable<RateLimitSettings, ResolvedRateLimitSettings>(
    () => rateLimitSchema,
    (value) => (typeof value === "number" ? `{ limit: ${value} }` : undefined),
  ).prefault({}),
  /**
   * Limits of log-ins, for `security.loginGuard`: by address, by account and address, by account, and of consecutive
   * failures. Default: as each of them says.
   */
  loginLimits: selectSchema<LoginLimitSettings, ResolvedLoginLimitSettings>(() => loginLimitsSchema).optional(),
  /**
   * Protection against cross-site request forgery: refuses unsafe requests that a page of another origin made a
   * browser send. `false` turns it off. Default: on when `session` is on.
   */
  csrf: toggleable<CsrfSettings, ResolvedCsrfSettings>(() => csrfSchema).optional(),
  /**
   * Sessions in the manner of express-session, with a signed cookie, an idle and an absolute time-out. `{}` takes the
   * defaults. Default: `false`.
   */
  session: toggleable<SessionSettings, ResolvedSessionSettings>(() => sessionSchema).default(false),
  /**
   * API keys: `security.apiKeys` creates and revokes them, and requests authenticate with one. `{}` takes the
   * defaults. Default: `false`.
   */
  apiKeys: toggleable<ApiKeySettings, ResolvedApiKeySettings>(() => apiKeySchema).default(false),
  /**
   * JSON Web Tokens: `security.jwt` issues and refreshes them, and requests authenticate with one. `{}` takes the
   * defaults. Default: `false`.
   */
  jwt: toggleable<JwtSettings, ResolvedJwtSettings>(() => jwtSchema).default(false),
};

export const settingsSchema = /* @__PURE__ */ settingsObject(SHAPE);

/** Settings of `applySecurity`. All but `trustedHosts` are optional. */
export interface SecuritySettings extends z.input<typeof settingsSchema> {}
/** Settings of `applySecurity` with every default filled in. Secrets are wrapped, so that they cannot be printed. */
export interface ResolvedSecuritySettings extends z.output<typeof settingsSchema> {}
