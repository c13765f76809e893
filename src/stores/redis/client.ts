import { parseUrl } from "../../settings/parse-url.js";
import { Secret } from "../../core/secret.js";
import { SettingsError } from "../../settings/errors.js";
import type { RedisConnection } from "./connection.js";
import { ioRedisConnection, isIoRedis } from "./ioredis.js";
import { isNodeRedis, nodeRedisConnection } from "./node-redis.js";
import { SharedConnection } from "./shared-connection.js";
import { type OpenRedisSettings, UrlConnection } from "./url-connection.js";

export type { OpenRedisSettings } from "./url-connection.js";
export {
  RedisError,
  redisScript,
  type RedisConnection,
  type RedisListener,
  type RedisReply,
  type RedisScript,
} from "./connection.js";

/**
 * Begins to connect, and returns at once. Calls made during the first attempt wait for it. While Redis is unavailable
 * they reject at once, and the client reconnects in the background for as long as it takes.
 *
 * @param redis a `redis://` or `rediss://` URL; a client of node-redis 5 or 6 or ioredis 5 or 6, standalone, Sentinel
 * or Cluster, which the app still has to close; or a connection that this function returned
 * @throws SettingsError when it is none of these
 *
 * @example
 * ```ts
 * import { openRedis } from "portcullis/redis";
 *
 * const redis = openRedis("redis://localhost:6379");
 * await redis.ready();
 * await redis.close();
 * ```
 */
export function openRedis(redis: Secret | string | object, options: OpenRedisSettings = {}): RedisConnection {
  const value = redis instanceof Secret ? redis.reveal() : redis;
  if (typeof value === "string") return new UrlConnection(checkedUrl(value), options);
  if (typeof value !== "object" || value === null) throw wrong("wrong-type", "Redis must be a URL or a client.");
  if (isConnection(value)) return new SharedConnection(value);
  if (isIoRedis(value)) return ioRedisConnection(value);
  if (isNodeRedis(value)) return nodeRedisConnection(value);
  throw wrong("wrong-type", "This object is not a client of node-redis 5 or 6, or of ioredis 5 or 6.");
}

/** @throws SettingsError; its message never contains the URL */
function checkedUrl(url: string): string {
  if (!/^rediss?:\/\//i.test(url))
    throw wrong("wrong-value", "The Redis URL does not begin with redis:// or rediss://.");
  if (parseUrl(url) === undefined)
    throw wrong("wrong-value", "The Redis URL is malformed; a password in it may need percent-encoding.");
  return url;
}

function wrong(code: "wrong-type" | "wrong-value", message: string): SettingsError {
  const remedy =
    "Write redis://user:password@host:6379/0 (rediss:// for TLS), or pass a connected client (required for Sentinel and Cluster).";
  return new SettingsError([{ code, path: "redis", message, remedy }]);
}

function isConnection(value: object): value is RedisConnection {
  const { eval: run, command, subscribe, ready } = value as Partial<RedisConnection>;
  return "library" in value && [run, command, subscribe, ready].every((method) => typeof method === "function");
}
