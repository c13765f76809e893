import { afterAll, beforeAll, describe, test } from "vitest";
import { RedisSingleUseStore } from "portcullis/redis";
import { singleUseStoreConformance } from "portcullis/testing";
import { type AppClient, REDIS_PACKAGES } from "../support/redis-clients.js";
import { type RedisCluster, sharedRedis, startRedisCluster, uniqueName } from "../support/servers.js";

let cluster: RedisCluster;
beforeAll(async () => {
  cluster = await startRedisCluster();
});
afterAll(() => cluster?.close());

const CLIENTS = REDIS_PACKAGES.flatMap(({ name, plain, cluster: clustered }) => [
  { name, open: async () => plain((await sharedRedis()).url) },
  { name: `${name}, a cluster`, open: () => clustered(cluster) },
]);

describe.each(CLIENTS)("single-use records on Redis by $name", ({ open }) => {
  let opened: AppClient;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened?.close());

  const make = (): RedisSingleUseStore =>
    new RedisSingleUseStore({ client: opened.client, prefix: `${uniqueName()}:` });
  for (const { name, run } of singleUseStoreConformance(make)) test(name, run);
});
