import * as ioredis6 from "ioredis";
import * as ioredis5 from "ioredis5";
import * as redis6 from "redis";
import * as redis5 from "redis5";
import type { RedisCluster, RedisSentinel } from "./servers.js";

/** A client as an app makes one, and how the app ends it. */
export interface AppClient {
  client: object;
  close(): Promise<void>;
}

export interface RedisPackage {
  name: string;
  plain(url: string): Promise<AppClient>;
  sentinel(sentinel: RedisSentinel): Promise<AppClient>;
  cluster(cluster: RedisCluster): Promise<AppClient>;
}

interface NodeRedisLike {
  connect(): Promise<unknown>;
  destroy(): unknown;
  on(event: "error", listener: () => void): unknown;
}

async function connected(client: NodeRedisLike): Promise<AppClient> {
  client.on("error", () => undefined);
  await client.connect();
  return { client, close: async () => void (await client.destroy()) };
}

function nodeRedis(name: string, redis: typeof redis6 | typeof redis5): RedisPackage {
  const { createClient, createCluster, createSentinel } = redis as typeof redis6;
  return {
    name,
    plain: (url) => connected(createClient({ url })),
    sentinel: ({ sentinels, masterName }) =>
      connected(
        createSentinel({
          name: masterName,
          sentinelRootNodes: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })),
        }),
      ),
    cluster: ({ urls }) => connected(createCluster({ rootNodes: urls.map((url) => ({ url })) })),
  };
}

function ioRedis(name: string, ioredis: typeof ioredis6 | typeof ioredis5): RedisPackage {
  // What is called here is the same in both; the types of the two cannot be called as a union.
  const { Redis, Cluster } = ioredis as typeof ioredis6;
  const opened = (client: ioredis6.Redis | ioredis6.Cluster): Promise<AppClient> => {
    (client as NodeJS.EventEmitter).on("error", () => undefined);
    return Promise.resolve({ client, close: async () => client.disconnect() });
  };
  return {
    name,
    plain: (url) => opened(new Redis(url)),
    sentinel: ({ sentinels, masterName }) =>
      opened(new Redis({ sentinels: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })), name: masterName })),
    cluster: ({ nodes }) => opened(new Cluster(nodes.map(({ port }) => ({ host: "127.0.0.1", port })))),
  };
}

export const REDIS_PACKAGES: readonly RedisPackage[] = [
  nodeRedis("node-redis 6", redis6),
  nodeRedis("node-redis 5", redis5),
  ioRedis("ioredis 6", ioredis6),
  ioRedis("ioredis 5", ioredis5),
];
