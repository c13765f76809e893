import { z } from "zod";
import { apiKeySchema } from "../api-key/settings.js";
import type { OnRefusal } from "../core/response/problem.js";
import { Secret } from "../core/secret.js";
import { corsSchema } from "../cors/settings.js";
import { csrfSchema } from "../csrf/settings.js";
import { headersSchema } from "../headers/schema.js";
import { jwtSchema } from "../jwt/settings.js";
import { rateLimitSchema } from "../rate-limit/settings.js";
import { sessionSchema } from "../session/settings.js";
import { trustedHostSchema } from "../trusted-host/settings.js";
import { DATABASE_URL_PATTERN } from "../stores/database/url.js";
import { addressRangeSchema } from "../settings/common.js";
import { addIssue, chosen, settingsObject, switchable } from "../settings/object.js";
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

/** The settings one by one, so that `parseSettings` can read and check each by itself. */
export const SHAPE = {
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
