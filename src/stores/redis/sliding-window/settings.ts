import { z } from "zod";
import { settingsObject } from "../../../settings/object.js";
import { Secret } from "../../../core/secret.js";

/** Records that a client's log holds at most by default: 6 KiB. */
const DEFAULT_MAX_RECORDS = 1024;

export const redisWindowStoreSchema = settingsObject({
  /** A `redis://` or `rediss://` URL, or a client of node-redis or ioredis. A client stays the app's to close. */
  redis: z.custom<string | object>(
    (value) => typeof value === "string" || value instanceof Secret || (typeof value === "object" && value !== null),
    {
      error: "Must be a redis:// URL or a client",
      params: { remedy: 'Write { redis: "redis://host:6379" }, or { redis: client }.' },
    },
  ),
  /** Prefix of every key. Stores of different limits in express-rate-limit need different ones. */
  prefix: z
    .string()
    .max(64)
    .regex(/^[^{}]*$/, "Must not contain braces: Redis Cluster uses them for hash tags")
    .default("portcullis:limit:"),
  /**
   * Records in one client's log, six bytes each. For a limit above it, the times of requests are rounded up to a whole
   * `window / maxRecords`: still never more than the limit in any window, and a slot frees that much later.
   */
  maxRecords: z.int().min(16).max(1_000_000).default(DEFAULT_MAX_RECORDS),
  /**
   * As a store of express-rate-limit: the limit to use when that package's `limit` is a function or when the store is
   * used without that package.
   */
  limit: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .optional(),
  /**
   * As a store of express-rate-limit: the window to use, in milliseconds, when the store is used without that package.
   */
  windowMs: z
    .number()
    .min(1)
    .max(2 ** 41)
    .optional(),
});

/** Settings of a `RedisSlidingWindowStore`. */
export interface RedisSlidingWindowStoreSettings extends z.input<typeof redisWindowStoreSchema> {}
