import { setTimeout as sleep } from "node:timers/promises";
import { Cluster, Redis as IoRedis } from "ioredis";
import { Redis as IoRedis5 } from "ioredis5";
import { createClient, createCluster } from "redis";
import { createClient as createClient5 } from "redis5";
import { afterAll, beforeAll, describe, test } from "vitest";
import { sessionStoreConformance } from "portcullis/testing";
import { RedisSessionStore } from "../../src/stores/redis/sessions/store.js";
import { sharedRedis, startRedisCluster, uniqueName, type RedisCluster } from "../support/servers.js";

let cluster: RedisCluster;
beforeAll(async () => {
  cluster = await startRedisCluster();
});
afterAll(() => cluster?.close());

interface Client {
  readonly client: object;
  close(): void;
}

const CLIENTS: readonly (readonly [string, (url: string) => Promise<Client>])[] = [
  [
    "node-redis 6",
    async (url) => {
      const client = await createClient({ url }).connect();
      return { client, close: () => client.destroy() };
    },
  ],
  [
    "node-redis 5",
    async (url) => {
      const client = await createClient5({ url }).connect();
      return { client, close: () => client.destroy() };
    },
  ],
  [
    "ioredis 6",
    async (url) => {
      const client = new IoRedis(url);
      return { client, close: () => client.disconnect() };
    },
  ],
  [
    "ioredis 5",
    async (url) => {
      const client = new IoRedis5(url);
      return { client, close: () => client.disconnect() };
    },
  ],
  [
    "a cluster, node-redis 6",
    async () => {
      const client = createCluster({ rootNodes: cluster.urls.map((url) => ({ url })) });
      await client.connect();
      return { client, close: () => client.destroy() };
    },
  ],
  [
    "a cluster, ioredis 6",
    async () => {
      const client = new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })));
      return { client, close: () => client.disconnect() };
    },
  ],
];

describe.concurrent.each(CLIENTS)("sessions on Redis by %s", (_name, open) => {
  let opened: Client;
  beforeAll(async () => {
    opened = await open((await sharedRedis()).url);
  });
  afterAll(() => opened?.close());

  const make = (clock: ConstructorParameters<typeof RedisSessionStore>[0]["clock"]): RedisSessionStore =>
    new RedisSessionStore({
      client: opened.client,
      prefix: `${uniqueName()}:`,
      maxPerPrincipal: 30,
      ...(clock === undefined ? {} : { clock }),
    });
  // Redis counts lives by its own clock.
  const cases = sessionStoreConformance(make, { elapse: (ms) => sleep(ms), grainMs: 1000, maxPerPrincipal: 30 });
  for (const { name, run } of cases) test(name, run);
});
