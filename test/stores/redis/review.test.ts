import { setTimeout as sleep } from "node:timers/promises";
import { Redis as IoRedis } from "ioredis";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ManualClock } from "portcullis/testing";
import { systemClock } from "../../../src/core/clock.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { ChangeFeed } from "../../../src/stores/revocations/change-feed.js";
import type { Change } from "../../../src/stores/revocations/changes.js";
import { SESSION_STAMP } from "../../../src/stores/session-record.js";
import { RedisChangeSource } from "../../../src/stores/redis/changes/source.js";
import { openRedis } from "../../../src/stores/redis/client.js";
import type { RedisConnection } from "../../../src/stores/redis/connection.js";
import { RedisSessionStore } from "../../../src/stores/redis/sessions/store.js";
import { AskedSessionStore } from "../../../src/testing/asked-session-store.js";
import { runChild } from "../children.js";
import { redisSays, sharedRedis, startRedis, uniqueName } from "../../support/servers.js";

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
  test("a process whose clock is days ahead does not delete what is in force", async () => {
    const prefix = `${uniqueName()}:`;
    const right = new RedisChangeSource(redis, { prefix, clock: systemClock });
    const denied: Change = { kind: "token", name: "j", endsAt: Date.now() + HOUR };
    await right.record([denied]);
    const ahead = new RedisChangeSource(redis, { prefix, clock: new ManualClock(Date.now() + 40 * DAY) });
    await ahead.record([{ kind: "token", name: "k", endsAt: Date.now() + 40 * DAY + HOUR }]);
    expect((await right.load()).changes).toContainEqual(denied);
    expect(Number(await redis.command("PTTL", `${prefix}{changes}:denied`))).toBeGreaterThan(40 * DAY);
  });

  test("all denials are loaded when the server is another one from page to page", async () => {
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

  test("after a restore of older data a key's change that was lost reaches who never saw a gap", async () => {
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

  test("what somebody else writes into it neither ends the process nor keeps changes from being read", async () => {
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

describe("sessions", () => {
  const open = (clock = new ManualClock(Date.now()), prefix = `${uniqueName()}:`) => {
    const store = new RedisSessionStore({ client: redis, prefix, clock });
    return { store, asked: new AskedSessionStore(store, clock), prefix, clock };
  };

  test("a session whose making began before 'log out everywhere' is ended by it", async () => {
    const { asked } = open();
    await asked.create("first", asked.data("ada"));
    const made = asked.create("second", asked.data("ada"));
    await asked.endAll("ada");
    await made;
    expect([await asked.get("first"), await asked.get("second")]).toEqual([null, null]);
  });

  test("a process whose clock is ahead does not hide others' sessions from 'log out everywhere'", async () => {
    const { asked, prefix } = open();
    await asked.create("mine", asked.data("ada", {}, 1_800_000));
    const ahead = open(new ManualClock(Date.now() + 2 * HOUR), prefix);
    await ahead.asked.create("theirs", ahead.asked.data("ada", {}, 1_800_000));
    expect(await asked.ids("ada")).toEqual(["mine", "theirs"]);
    await asked.endAll("ada");
    expect([await asked.get("mine"), await asked.get("theirs")]).toEqual([null, null]);
  });

  test("a value that is no session is no session, and no outage", async () => {
    const { asked, prefix } = open();
    await asked.create("good", asked.data("ada"));
    const head = String(await redis.command("GETRANGE", `${prefix}session:good`, "0", "69"));
    for (const value of [
      "x",
      "",
      "{}",
      '{"cookie":{}}',
      head,
      `${head}{`,
      `${head}null`,
      `${head}7`,
      `${head}"text"`,
      `${head}[]`,
      `${head}{"cookie":"text"}`,
      `${head}{"cookie":{},"${SESSION_STAMP}":7}`,
      `${head}{"cookie":{},"${SESSION_STAMP}":"x"}`,
    ]) {
      await redis.command("SET", `${prefix}session:bad`, value, "PX", "60000");
      const found = await asked.get("bad");
      expect(found === null || typeof found?.["cookie"] === "object", value).toBe(true);
    }
    await redis.command(
      "SET",
      `${prefix}session:bad`,
      `${head}{"cookie":{},"__proto__":{"isAdmin":true}}`,
      "PX",
      "60000",
    );
    await asked.get("bad");
    expect(({} as Record<string, unknown>)["isAdmin"]).toBeUndefined();
    expect(await asked.get("good")).not.toBeNull();
  });

  test("any principal has sessions of its own: odd, long, and alike ones", async () => {
    const { asked } = open();
    const principals = [
      "a",
      "A",
      "a ",
      "a\0",
      "\ud800",
      "\udfff",
      "{a}",
      "*",
      "",
      "x".repeat(65_536),
      "x".repeat(65_535),
    ];
    for (const [n, principal] of principals.entries()) await asked.create(`s${n}`, asked.data(principal));
    for (const [n, principal] of principals.entries())
      expect(await asked.ids(principal), JSON.stringify(principal).slice(0, 20)).toEqual([`s${n}`]);
    await asked.endAll("a");
    expect(await asked.ids("A")).toHaveLength(1);
  });

  test("no mixture of writes by two processes brings back what was ended", async () => {
    const { prefix, clock } = open();
    const stores = [0, 1].map(() => open(clock, prefix).asked) as [AskedSessionStore, AskedSessionStore];
    for (let round = 0; round < 30; round += 1) {
      const sid = `s${round}`;
      await stores[0].create(sid, stores[0].data("ada"));
      const writes = stores.flatMap((store) => [
        store.set(sid, store.data("ada")),
        store.replace(sid, store.data("ada")),
        store.touch(sid, store.data("ada")),
        store.create(sid, store.data("ada")),
      ]);
      await Promise.all([...writes.slice(0, round % 8), stores[1].destroy(sid), ...writes]);
      expect(await stores[0].get(sid)).toBeNull();
    }
    expect(await stores[0].ids("ada")).toEqual([]);
  });
});

describe("closing", () => {
  const child = async (url: string, library: string) => {
    const ended = await runChild(new URL("closing-child.ts", import.meta.url).pathname, [url, library]).ended;
    return { code: ended.code, out: ended.out.trim().split("\n"), err: ended.err };
  };

  test("a process that never reached Redis, or whose Redis stopped answering, ends by itself after close()", async () => {
    const [away, silent] = [await startRedis(), await startRedis()];
    ends.push(
      () => away.close(),
      () => silent.close(),
    );
    await away.kill();
    silent.pause();
    const cases = [away, silent].flatMap(({ url }) => ["redis", "ioredis"].map((library) => child(url, library)));
    for (const ended of await Promise.all(cases)) expect(ended).toEqual({ code: 0, out: ["closed", "ended"], err: "" });
  });

  test("an app's own client is left open, and with no subscription or listener of ours", async () => {
    const { url } = await sharedRedis();
    const client = await createClient({ url }).connect();
    ends.push(() => client.destroy());
    const listeners = () => client.eventNames().map((name) => [name, client.listenerCount(name as "error")]);
    const before = listeners();
    const prefix = `${uniqueName()}:`;
    for (let n = 0; n < 5; n += 1) {
      const feed = new ChangeFeed(
        new RedisChangeSource(openRedis(client), { prefix, clock: systemClock }),
        createRuntime(),
      );
      await Promise.all([feed.start(), feed.start()]);
      await Promise.all([feed.close(), feed.close()]);
    }
    expect(listeners()).toEqual(before);
    expect(client.isOpen).toBe(true);
    const port = Number(new URL(url).port);
    await expect
      .poll(() => redisSays(port, `PUBSUB NUMSUB ${prefix}{changes}:told`), { timeout: 2000 })
      .toMatch(/:0\r\n/);
  });
});
