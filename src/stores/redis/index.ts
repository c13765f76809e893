/** `portcullis/redis`: limits in Redis, and the adapter over its clients that the other stores use. */
export {
  openRedis,
  type OpenRedisSettings,
  RedisError,
  redisScript,
  type RedisConnection,
  type RedisListener,
  type RedisReply,
  type RedisScript,
} from "./client.js";
export { RedisSessionStore, type RedisSessionStoreSettings } from "./sessions/store.js";
export { RedisSingleUseStore, type RedisSingleUseStoreSettings } from "./single-use/store.js";
export { RedisSlidingWindowStore } from "./sliding-window/store.js";
export type { RedisSlidingWindowStoreSettings } from "./sliding-window/settings.js";
export type { LoadPackage } from "./own-client.js";
