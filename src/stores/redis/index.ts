/** `portcullis/redis`: limits in Redis, and the adapter over its clients that the other stores are built on. */
export {
  openRedis,
  type OpenRedisOptions,
  RedisError,
  redisScript,
  type RedisConnection,
  type RedisListener,
  type RedisReply,
  type RedisScript,
} from "./client.js";
export { RedisSessionStore, type RedisSessionStoreOptions } from "./sessions/store.js";
export { RedisSlidingWindowStore } from "./sliding-window/store.js";
export type { RedisSlidingWindowStoreSettings } from "./sliding-window/settings.js";
