import { z } from "zod";
import { apiKeySchema } from "../api-key/settings.js";
import type { OnRefusal } from "../core/response/refuse.js";
import { Secret } from "../core/secret.js";
import { corsSchema } from "../cors/settings.js";
import { csrfSchema } from "../csrf/settings.js";
import { headersSchema } from "../headers/settings.js";
import { jwtSchema } from "../jwt/settings.js";
import { rateLimitSchema } from "../rate-limit/settings.js";
import { sessionSchema } from "../session/settings.js";
import { DEBUG_HOSTS, trustedHostSchema } from "../trusted-host/settings.js";
import { DATABASE_URL_PATTERN } from "../stores/database/url.js";
import { addressRangeSchema } from "../settings/common.js";
import { contradictions } from "./contradictions.js";
import { SettingsError, type SettingsIssue } from "../settings/errors.js";
import { addIssue, checked, chosen, refuseRequest, settingsObject, switchable } from "../settings/object.js";
import { secretRingSchema } from "../settings/secrets.js";

/** Names Express gives to whole private ranges. */
const NAMED_RANGES = ["loopback", "linklocal", "uniquelocal"] as const;

/** Which proxies may say who the client is. `true` would believe anyone. */
const trustProxySchema = chosen<false | number | readonly string[], false | number | readonly string[]>((value) => {
  if (value === false) return z.literal(false);
  if (Array.isArray(value)) return z.array(z.union([z.enum(NAMED_RANGES), addressRangeSchema])).min(1);
  if (typeof value === "number") return z.int().min(0).max(32);
  return z.unknown().superRefine((_value, context) => {
    addIssue(context, {
      code: value === true ? "unsafe-setting" : "wrong-type",
      message:
        value === true
          ? "true believes X-Forwarded-* from anyone, so any client can choose its own address."
          : "This is neither a number of proxies nor a list of addresses.",
      remedy: "Give the number of proxies in front of the app (1), or their addresses or CIDR ranges.",
    });
  });
});

/** A URL is kept as a `Secret`, because it may hold a password; an instance of a client is passed through. */
function urlOr<Instance extends object>(
  pattern: RegExp,
  remedy: string,
): z.ZodType<Secret | Instance, string | Secret | Instance> {
  return chosen((value) => {
    if (typeof value !== "string" && !(value instanceof Secret))
      return z.custom<Instance>(
        (given) => typeof given === "object" && given !== null && !(given instanceof Promise),
        "Invalid input: expected a URL or a client",
      );
    return z
      .union([z.string(), z.instanceof(Secret)])
      .transform((text) => (text instanceof Secret ? text : new Secret(text)))
      .superRefine((url, context) => {
        if (!pattern.test(url.reveal()))
          addIssue(context, { code: "wrong-value", message: "This URL is not of a kind that is supported.", remedy });
      });
  });
}

const SHAPE = {
  /** Root secret; components without a secret of their own derive one from it. First signs, all verify. */
  secretKey: secretRingSchema.optional(),
  /** Development switch: relaxes Secure cookies, HSTS, upgrade-insecure-requests and the default host list, nothing else. Refused when NODE_ENV is `production`. */
  debug: z.boolean().default(false),
  /** Number of proxies in front of the app, or their addresses. */
  trustProxy: trustProxySchema.default(false),
  /**
   * `redis:` or `rediss:` URL, or a client of node-redis or ioredis (Sentinel and Cluster need one): where limits, sessions and
   * revocations live, shared by all processes. In memory when unset.
   */
  redis: urlOr<object>(
    /^rediss?:\/\/./i,
    "Write redis://user:password@host:6379/0 (rediss:// for TLS), or give a connected client.",
  ).optional(),
  /** What every key in Redis begins with. Apps that share one Redis need different ones. */
  redisPrefix: z
    .string()
    .max(64)
    .regex(/^[^{}]*$/, "Invalid input: braces are kept for Redis Cluster's hash tags")
    .default("portcullis:"),
  /** `postgres:`, `mysql:`, `mariadb:` or `sqlite:` URL, or a Kysely instance: where API keys and refresh tokens live. In memory when unset. */
  database: urlOr<object>(
    DATABASE_URL_PATTERN,
    "Write postgres://user:password@host/name, mysql://…, mariadb://… or sqlite:path/to/file.db, or give a Kysely instance.",
  ).optional(),
  /** Replaces the body of refusals; status and headers stay. */
  onRefusal: z.custom<OnRefusal>((value) => typeof value === "function", "Invalid input: expected function").optional(),
  headers: switchable(headersSchema).prefault({}),
  trustedHosts: switchable(trustedHostSchema).optional(),
  cors: switchable(corsSchema).default(false),
  rateLimit: switchable(rateLimitSchema).prefault({}),
  csrf: switchable(csrfSchema).optional(),
  session: switchable(sessionSchema).default(false),
  apiKeys: switchable(apiKeySchema).default(false),
  jwt: switchable(jwtSchema).default(false),
};

export const settingsSchema = settingsObject(SHAPE);

/** What an app writes. README.md has the table. */
export type SecuritySettings = z.input<typeof settingsSchema>;
/** The same with every default filled in and secrets wrapped so that they cannot be printed. */
export type ParsedSettings = z.output<typeof settingsSchema>;

/**
 * Checks settings and fills in the defaults. The given object is neither kept nor changed; parsing the result again
 * changes nothing.
 *
 * @throws SettingsError listing every issue of every protection, and the contradictions between them
 */
export function parseSettings(settings: unknown): ParsedSettings {
  refuseRequest(settings);
  if (typeof settings !== "object" || settings === null || Array.isArray(settings)) {
    throw new SettingsError([
      {
        code: "wrong-type",
        path: "",
        message: "The settings must be an object.",
        remedy: 'Call applySecurity(app, { trustedHosts: ["example.com"] }).',
      },
    ]);
  }
  const issues: SettingsIssue[] = [];
  let cause: unknown;
  const check = (schema: z.ZodType, read: () => unknown, path: readonly string[]): unknown => {
    const result = checked(schema, read, path);
    if (!("issues" in result)) return result.data;
    issues.push(...result.issues);
    cause ??= result.cause;
    return undefined;
  };
  check(NO_STRANGERS, () => strangers(settings), []);
  const given: Record<string, unknown> = {};
  const parsed: Record<string, unknown> = {};
  // Key by key, so that what is wrong in one protection does not hide what is wrong in another. Each is read once.
  for (const [key, schema] of Object.entries(SHAPE)) {
    // Given, though nobody knows what: until it has been read.
    given[key] = null;
    const data = check(schema, () => (given[key] = (settings as Record<string, unknown>)[key]), [key]);
    if (data !== undefined) parsed[key] = data;
  }
  // Two defaults depend on another setting.
  if (parsed.debug === true && parsed.trustedHosts === undefined)
    parsed.trustedHosts = trustedHostSchema.parse(DEBUG_HOSTS);
  if (parsed.csrf === undefined) parsed.csrf = parsed.session === false ? false : csrfSchema.parse({});
  issues.push(...contradictions(parsed, given));
  if (issues.length > 0) throw new SettingsError(issues, { cause });
  return deepFreeze(parsed) as ParsedSettings;
}

const NO_STRANGERS = settingsObject(Object.fromEntries(Object.keys(SHAPE).map((key) => [key, z.unknown().optional()])));

/** The keys that are not settings, without their values. */
function strangers(settings: object): Record<string, undefined> {
  return Object.fromEntries(
    Object.keys(settings)
      .filter((key) => !Object.hasOwn(SHAPE, key))
      .map((key) => [key, undefined]),
  );
}

/** Freezes plain objects and lists; leaves instances (clients, keys) alone, and a `store`, which may be a plain object that keeps its state on itself. */
function deepFreeze<T>(value: T): T {
  if (
    Array.isArray(value) ||
    (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype)
  ) {
    for (const [key, inner] of Object.entries(value)) if (key !== "store") deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
