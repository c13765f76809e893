import { createClient, createCluster } from "redis";
import { Cluster, Redis as IoRedis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../../../src/core/clock.js";
import type { Change } from "../../../../src/stores/revocations/changes.js";
import { RedisChangeSource } from "../../../../src/stores/redis/changes/source.js";
import { openRedis } from "../../../../src/stores/redis/client.js";
import type { RedisConnection } from "../../../../src/stores/redis/connection.js";
import { sharedRedis, startRedisCluster, uniqueName, type RedisCluster } from "../../../support/servers.js";

let cluster: RedisCluster;
beforeAll(async () => {
  cluster = await startRedisCluster();
});
afterAll(() => cluster?.close());

const addresses = () => cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port }));

const CLIENTS: readonly (readonly [string, () => Promise<{ client: object; close(): void }>])[] = [
  [
    "node-redis",
    async () => {
      const client = await createClient({ url: (await sharedRedis()).url }).connect();
      return { client, close: () => client.destroy() };
    },
  ],
  [
    "ioredis",
    async () => {
      const client = new IoRedis((await sharedRedis()).url);
      return { client, close: () => client.disconnect() };
    },
  ],
  [
    "a cluster by node-redis",
    async () => {
      const client = createCluster({ rootNodes: cluster.urls.map((url) => ({ url })) });
      await client.connect();
      return { client, close: () => client.destroy() };
    },
  ],
  [
    "a cluster by ioredis",
    async () => {
      const client = new Cluster(addresses());
      return { client, close: () => client.disconnect() };
    },
  ],
];

const HOUR = 3_600_000;

describe.each(CLIENTS)("the record of changes in Redis, by %s", (_name, open) => {
  let opened: { client: object; close(): void };
  let redis: RedisConnection;
  beforeAll(async () => {
    opened = await open();
    redis = openRedis(opened.client);
  });
  afterAll(async () => {
    await redis?.close();
    opened?.close();
  });

  const make = () => {
    const prefix = `${uniqueName()}:`;
    const source = () => new RedisChangeSource(redis, { prefix, clock: systemClock });
    return { writer: source(), reader: source(), keyOf: (part: string) => `${prefix}{changes}:${part}` };
  };

  test("returns every change in order, and the changes in force to a process that loads later", async () => {
    const { writer, reader } = make();
    let { position, changes } = await reader.load();
    expect(changes).toEqual([]);
    const endsAt = Date.now() + HOUR;
    const all: Change[] = [
      { kind: "token", name: 'it\'s a\n🏰 "token"', endsAt },
      { kind: "family", name: "__proto__", endsAt },
      { kind: "subject", name: "ada", cutOff: endsAt - HOUR, endsAt },
      { kind: "api-key", name: "key-1" },
      { kind: "token", name: "ended", endsAt: 1 },
    ];
    for (const change of all) await writer.record([change]);
    ({ position, changes } = await reader.since(position));
    expect(changes).toEqual(all);
    ({ position, changes } = await reader.since(position));
    expect(changes).toEqual([]);
    await writer.record([{ kind: "subject", name: "ada", cutOff: endsAt, endsAt }]);
    expect((await reader.since(position)).changes).toHaveLength(1);
    const loaded = await reader.load();
    expect(new Set(loaded.changes)).toEqual(
      new Set([...all.slice(0, 3), { kind: "subject", name: "ada", cutOff: endsAt, endsAt }]),
    );
  });

  test("notifies watchers at once", async () => {
    const { writer, reader } = make();
    const told: Change[] = [];
    const stop = await reader.watch(
      (changes) => told.push(...changes),
      () => undefined,
    );
    const change: Change = { kind: "token", name: "j", endsAt: Date.now() + HOUR };
    await writer.record([change, { kind: "api-key", name: "k" }]);
    await expect.poll(() => told, { timeout: 1000 }).toEqual([change, { kind: "api-key", name: "k" }]);
    await stop();
    await writer.record([{ kind: "api-key", name: "after" }]);
    expect((await writer.since((await writer.load()).position)).gap).toBe(false);
    expect(told).toHaveLength(2);
  });

  test("never shortens a denial, and gives every key an expiry", async () => {
    const { writer, reader, keyOf } = make();
    const endsAt = Date.now() + HOUR;
    await writer.record([{ kind: "token", name: "j", endsAt }]);
    await writer.record([{ kind: "token", name: "j", endsAt: endsAt - 60_000 }]);
    expect((await reader.load()).changes).toEqual([{ kind: "token", name: "j", endsAt }]);
    for (const part of ["state", "log", "denied"])
      expect(Number(await redis.command("PTTL", keyOf(part)))).toBeGreaterThan(HOUR);
  });

  test("reports a gap when the record was lost, trimmed too far, or replaced by one with the same count", async () => {
    const { writer, reader, keyOf } = make();
    const { position: start } = await reader.load();
    await writer.record([{ kind: "api-key", name: "a" }]);
    const { position } = await reader.since(start);
    expect((await reader.since("")).gap).toBe(true);
    // A fail-over to a replica that had not got the last line, and has since been told another.
    await redis.command("LSET", keyOf("log"), "-1", 'other ["api-key","b"]');
    expect((await reader.since(position)).gap).toBe(true);
    expect((await reader.since(start)).changes).toEqual([{ kind: "api-key", name: "b" }]);
    // … or had not got it at all.
    await redis.command("HSET", keyOf("state"), "count", "0");
    expect((await reader.since(position)).gap).toBe(true);
    await redis.command("DEL", keyOf("state"));
    expect((await reader.since(start)).gap).toBe(true);
    // A new record begins; nobody who read the old one takes it for the same.
    const { position: anew } = await reader.load();
    expect((await reader.since(position)).gap).toBe(true);
    await writer.record(Array.from({ length: 10_001 }, (_, n): Change => ({ kind: "api-key", name: `key-${n}` })));
    expect((await reader.since(anew)).gap).toBe(true);
  });

  test("publishes on restore only what the record lacks", async () => {
    const { writer, reader } = make();
    const endsAt = Date.now() + HOUR;
    const known: Change = { kind: "token", name: "known", endsAt };
    const lost: Change = { kind: "family", name: "lost", endsAt };
    await writer.record([known]);
    const { position } = await reader.load();
    await writer.restore([known, lost]);
    expect((await reader.since(position)).changes).toEqual([lost]);
    expect(new Set((await reader.load()).changes)).toEqual(new Set([known, lost]));
  });
});
