import { setTimeout as sleep } from "node:timers/promises";
import { Redis as IoRedis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ManualClock } from "portcullis/testing";
import { systemClock } from "../../../../src/core/clock.js";
import { createRuntime } from "../../../../src/core/runtime.js";
import { ChangeFeed } from "../../../../src/stores/revocations/change-feed.js";
import type { Change } from "../../../../src/stores/revocations/changes.js";
import { RedisChangeSource } from "../../../../src/stores/redis/changes/source.js";
import { openRedis } from "../../../../src/stores/redis/client.js";
import type { RedisConnection } from "../../../../src/stores/redis/connection.js";
import { sharedRedis, startRedis, uniqueName } from "../../../support/servers.js";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

let redis: RedisConnection;
beforeAll(async () => {
  redis = openRedis((await sharedRedis()).url);
  await redis.ready();
});
afterAll(() => redis.close());

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

describe("the record of changes", () => {
  test("is not shortened by a process whose clock is days ahead", async () => {
    const prefix = `${uniqueName()}:`;
    const right = new RedisChangeSource(redis, { prefix, clock: systemClock });
    const denied: Change = { kind: "token", name: "j", endsAt: Date.now() + HOUR };
    await right.record([denied]);
    const ahead = new RedisChangeSource(redis, { prefix, clock: new ManualClock(Date.now() + 40 * DAY) });
    await ahead.record([{ kind: "token", name: "k", endsAt: Date.now() + 40 * DAY + HOUR }]);
    expect((await right.load()).changes).toContainEqual(denied);
    expect(Number(await redis.command("PTTL", `${prefix}{changes}:denied`))).toBeGreaterThan(40 * DAY);
  });

  test("is loaded completely when the server changes between pages", async () => {
    const server = await startRedis();
    ends.push(() => server.close());
    const client = new IoRedis(server.url, { retryStrategy: () => 20 });
    client.on("error", () => undefined);
    ends.push(() => client.disconnect());
    const other = openRedis(client);
    const names = Array.from({ length: 5000 }, (_, n) => `token-${n}`);
    // Thousands end in the same second.
    const endsAt = Math.ceil((Date.now() + HOUR) / 1000) * 1000;
    await new RedisChangeSource(other, { clock: systemClock }).record(
      names.map((name, n) => ({ kind: "token", name, endsAt: n < 3500 ? endsAt : endsAt + n })),
    );
    let calls = 0;
    // Before its third call, which is the second page. It has another hash seed then, so the cursor of a SCAN means nothing to it.
    const afterRestart = async <T>(call: () => Promise<T>): Promise<T> => {
      if (++calls === 3) await server.restart();
      return call();
    };
    const restarting: RedisConnection = {
      ...other,
      command: (name, ...args) => afterRestart(() => other.command(name, ...args)),
      eval: (script, keys, args) => afterRestart(() => other.eval(script, keys, args)),
    };
    const { changes } = await new RedisChangeSource(restarting, { clock: systemClock }).load();
    expect(calls).toBeGreaterThan(3);
    expect(new Set(changes.map(({ name }) => name)).size).toBe(names.length);
  });

  test("passes a lost change on after a restore of older data, also to readers that saw no gap", async () => {
    const prefix = `${uniqueName()}:`;
    const runtime = createRuntime();
    const feedOf = () =>
      new ChangeFeed(new RedisChangeSource(redis, { prefix, clock: systemClock }), runtime, { pollMs: 20 });
    const [publisher, behind] = [feedOf(), new RedisChangeSource(redis, { prefix, clock: systemClock })];
    ends.push(() => publisher.close());
    await publisher.start();
    const { position } = await behind.load();
    await publisher.publish({ kind: "api-key", name: "lost" });
    await sleep(100);
    await redis.command("HSET", `${prefix}{changes}:state`, "count", "0");
    await redis.command("LTRIM", `${prefix}{changes}:log`, "1", "0");
    await expect
      .poll(async () => (await behind.since(position)).changes, { timeout: 2000 })
      .toEqual([{ kind: "api-key", name: "lost" }]);
  });

  test("survives foreign entries: the process lives on and changes are still read", async () => {
    const prefix = `${uniqueName()}:`;
    const feed = new ChangeFeed(new RedisChangeSource(redis, { prefix, clock: systemClock }), createRuntime(), {
      pollMs: 20,
    });
    ends.push(() => feed.close());
    await feed.start();
    await sleep(50);
    const deep = "[".repeat(100_000);
    const forged = [
      "",
      " ",
      "x",
      "\n\n",
      "null",
      'x {"kind":"token"}',
      'x ["token"]',
      'x ["token","a",1e999]',
      'x ["token","__proto__",-1]',
      'x ["__proto__","a",1]',
      `x ${deep}`,
      'x ["subject","s",5,"6"]',
      'x ["constructor",{},{}]',
    ];
    for (const line of forged) {
      await redis.publish(`${prefix}{changes}:told`, line);
      await redis.command("RPUSH", `${prefix}{changes}:log`, line);
      await redis.command("HINCRBY", `${prefix}{changes}:state`, "count", "1");
      if (line !== "") await redis.command("ZADD", `${prefix}{changes}:denied`, "9e15", line);
    }
    await feed.publish({ kind: "token", name: "j", endsAt: Date.now() + HOUR });
    expect(({} as Record<string, unknown>)["kind"]).toBeUndefined();
    const late = new ChangeFeed(new RedisChangeSource(redis, { prefix, clock: systemClock }), createRuntime(), {
      pollMs: 20,
    });
    ends.push(() => late.close());
    await late.start();
    expect(late.isRevoked({ jti: "j", subject: "s", issuedAt: 1e15 })).toBe(true);
    await expect.poll(() => feed.isCurrent, { timeout: 2000 }).toBe(true);
    // An end that is no number makes it unreadable, and then nothing is accepted on its strength.
    await redis.command("HSET", `${prefix}{changes}:state`, "count", "many");
    await expect.poll(() => feed.isCurrent, { timeout: 3000 }).toBe(false);
    await expect(Promise.resolve(feed.isRevoked({ jti: "k", subject: "t", issuedAt: 1e15 }))).rejects.toThrow();
  });
});
