import express from "express";
import { Redis as IoRedis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { systemClock, type Clock } from "../../src/core/clock.js";
import { openRedis } from "../../src/stores/redis/client.js";
import type { RedisConnection } from "../../src/stores/redis/connection.js";
import { RedisSessionStore } from "../../src/stores/redis/sessions/store.js";
import { AskedSessionStore } from "../../src/testing/asked-session-store.js";
import { serve, type TestServer } from "../support/serve.js";
import { sharedRedis, uniqueName } from "../support/servers.js";
import { bench, type Bench, cookieOf, later, routes, withCookie } from "./support.js";

// A client of its own, which no busy machine can make drop its connection.
let client: IoRedis;
let redis: RedisConnection;
beforeAll(async () => {
  client = new IoRedis((await sharedRedis()).url);
  redis = openRedis(client);
  await redis.ready();
});
afterAll(() => client.disconnect());

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

/** One process' link to Redis: counts what is sent, and can be cut or be slow. */
class Link {
  commands = 0;
  isCut = false;
  slowMs = 0;

  readonly connection: RedisConnection = {
    library: redis.library,
    isCluster: redis.isCluster,
    eval: (script, keys, args) => this.#send(() => redis.eval(script, keys, args)),
    command: (name, ...args) => this.#send(() => redis.command(name, ...args)),
    publish: (channel, message) => redis.publish(channel, message),
    subscribe: (channel, listener) => redis.subscribe(channel, listener),
    ready: () => redis.ready(),
    close: async () => undefined,
  };

  async #send<T>(call: () => Promise<T>): Promise<T> {
    this.commands += 1;
    if (this.isCut) throw Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    if (this.slowMs > 0) await later(this.slowMs);
    return call();
  }
}

interface Process {
  made: Bench;
  server: TestServer;
  link: Link;
  store: RedisSessionStore;
}

interface Options {
  readonly clock?: Clock;
  readonly maxPerPrincipal?: number;
  readonly storeTimeoutMs?: number;
}

async function start(
  prefix: string,
  { clock = systemClock, maxPerPrincipal, storeTimeoutMs = 10_000 }: Options = {},
): Promise<Process> {
  const link = new Link();
  const store = new RedisSessionStore({
    client: link.connection,
    prefix,
    clock,
    ...(maxPerPrincipal === undefined ? {} : { maxPerPrincipal }),
  });
  const made = bench({ store, storeTimeoutMs }, { clock });
  const server = await serve(routes(express(), made));
  open.push(server, { close: () => made.layer.close?.() });
  return { made, server, link, store };
}

/** A process whose wall clock is wrong by so much. */
const clockOff = (ms: number): Clock => ({ now: () => Date.now() + ms, monotonic: () => performance.now() });

const idOf = async ({ server }: Process, cookie: string): Promise<unknown> =>
  ((await server.send("/who", withCookie(cookie))).json() as { id: unknown }).id;

describe("a user who has logged in 20,000 times, on Redis", () => {
  const MOST = 100;

  it("has 100 sessions, and listing or ending them takes a fixed number of commands for each of these", async () => {
    const here = await start(`${uniqueName()}:`);
    const bob = cookieOf(await here.server.send("/in/bob"));
    const first = cookieOf(await here.server.send("/in/ada"));
    const asked = new AskedSessionStore(here.store, { now: () => Date.now() } as never);
    const sids = Array.from({ length: 20_000 }, (_, n) => `session-${n}`);
    for (let from = 0; from < sids.length; from += 200) {
      const lifeMs = 4_000_000 + from;
      await Promise.all(sids.slice(from, from + 200).map((sid) => asked.create(sid, asked.data("ada", {}, lifeMs))));
    }
    const last = cookieOf(await here.server.send("/in/ada"));
    const { layer } = here.made;

    here.link.commands = 0;
    expect((await layer.list("ada")).length).toBeLessThanOrEqual(MOST);
    // One look-up, and one read for each.
    expect(here.link.commands).toBeLessThanOrEqual(1 + MOST);
    expect(await idOf(here, first)).toBeNull();

    here.link.commands = 0;
    const ended = await layer.end("ada");
    expect(ended).toBeGreaterThan(MOST / 2);
    expect(ended).toBeLessThanOrEqual(MOST);
    // One look-up, and for each its end and its two entries in the index.
    expect(here.link.commands).toBeLessThanOrEqual(1 + 3 * MOST);
    expect([await layer.list("ada"), await idOf(here, last), await idOf(here, bob)]).toEqual([[], null, "bob"]);
    for (let from = 0; from < sids.length; from += 1000) {
      const found = await Promise.all(sids.slice(from, from + 1000).map((sid) => asked.get(sid)));
      expect(found.filter((session) => session !== null)).toEqual([]);
    }
  }, 180_000);

  it("costs no more for a log-in than a user with as many sessions as are allowed", async () => {
    const here = await start(`${uniqueName()}:`, { maxPerPrincipal: 5 });
    const costs: number[] = [];
    for (let n = 0; n < 30; n += 1) {
      here.link.commands = 0;
      await here.server.send("/in/ada");
      costs.push(here.link.commands);
    }
    expect(Math.max(...costs.slice(0, 5))).toBeLessThanOrEqual(2);
    // And the end of the one that gives way.
    expect(Math.max(...costs.slice(5))).toBeLessThanOrEqual(2 + 5);
    expect(await here.made.layer.list("ada")).toHaveLength(5);
  });

  it("keeps the sessions that end last, including the one in use", async () => {
    const here = await start(`${uniqueName()}:`, { maxPerPrincipal: 5 });
    const cookies: string[] = [];
    for (let n = 0; n < 8; n += 1) {
      cookies.push(cookieOf(await here.server.send("/in/ada")));
      await later(2);
    }
    expect(await Promise.all(cookies.map((cookie) => idOf(here, cookie)))).toEqual([
      ...[null, null, null],
      ...["ada", "ada", "ada", "ada", "ada"],
    ]);
  });
});

describe("an end of all sessions that was refused, with a log-in in another process after it, on Redis", () => {
  it.each([
    { name: "clocks that agree", offMs: 0 },
    { name: "a process whose clock is two seconds behind", offMs: -2000 },
    { name: "a process whose clock is two seconds ahead", offMs: 2000 },
  ])(
    "$name: each later log-in of 100 users is valid, and each earlier session ends",
    async ({ offMs }) => {
      const prefix = `${uniqueName()}:`;
      const [here, there] = [await start(prefix), await start(prefix, { clock: clockOff(offMs) })];
      const people = Array.from({ length: 100 }, (_, n) => `person-${n}`);
      const logIn = async (person: string): Promise<string> => cookieOf(await there.server.send(`/in/${person}`));
      const before = await Promise.all(people.map(logIn));
      here.link.isCut = true;
      const after = await Promise.all(
        people.map(async (person) => {
          await expect(here.made.layer.end(person)).rejects.toMatchObject({ status: 503 });
          return logIn(person);
        }),
      );
      expect(new Set(await Promise.all(before.map((cookie) => idOf(there, cookie))))).toEqual(new Set(people));
      here.link.isCut = false;
      const living = async (cookies: string[]): Promise<number> =>
        (await Promise.all(cookies.map((cookie) => idOf(there, cookie)))).filter((id) => id !== null).length;
      await expect.poll(() => living(before), { timeout: 30_000, interval: 500 }).toBe(0);
      await later(700);
      expect(await living(after)).toBe(100);
    },
    60_000,
  );

  it("because the answer was late ends no later log-in, whatever Redis executes afterwards", async () => {
    const prefix = `${uniqueName()}:`;
    const [here, there] = [await start(prefix, { storeTimeoutMs: 300 }), await start(prefix)];
    const before = cookieOf(await there.server.send("/in/ada"));
    here.link.slowMs = 600;
    await expect(here.made.layer.end("ada")).rejects.toMatchObject({ status: 503 });
    here.link.slowMs = 0;
    const after = cookieOf(await there.server.send("/in/ada"));
    await expect.poll(() => idOf(there, before), { timeout: 20_000 }).toBeNull();
    await later(700);
    expect(await idOf(there, after)).toBe("ada");
  }, 40_000);
});
