/** Real servers for tests: private ones of one test, or shared ones. */
export type { RunningServer } from "./servers/process.js";
export { redisSays, startRedis } from "./servers/redis.js";
export { type RedisCluster, startRedisCluster } from "./servers/redis-cluster.js";
export { type RedisSentinel, startRedisSentinel } from "./servers/redis-sentinel.js";
export { postgresQuery, startPostgres } from "./servers/postgres.js";
export { mariaDbQuery, startMariaDb } from "./servers/mariadb.js";
export {
  mariaDbDatabase,
  postgresDatabase,
  type SharedServer,
  sharedMariaDb,
  sharedPostgres,
  sharedRedis,
  uniqueName,
} from "./servers/shared.js";
export { type Certificates, makeCertificates } from "./servers/certificates.js";
