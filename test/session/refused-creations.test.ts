import express from "express";
import type session from "express-session";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { RedisSessionStore } from "../../src/stores/redis/sessions/store.js";
import { serve, type TestServer } from "../support/serve.js";
import { sharedRedis, uniqueName } from "../support/servers.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { bench, cookieOf, later, routes, setCookies, SlowStore, withCookie } from "./support.js";

/** The store may take 250 ms. */
const TOO_LATE_MS = 400;
const IN_TIME_MS = 40;
/** Longer than a refused write takes: on Redis it is two calls. */
const SETTLED_MS = 1200;
/** A busy machine may take longer. */
const PATIENCE = { timeout: 3000 };

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

/** A store that refuses to end sessions while told to. */
class NoEndsStore extends SlowStore {
  refuses = true;
  refused = 0;

  override destroy(sid: string, callback?: (error?: unknown) => void): void {
    if (!this.refuses) return super.destroy(sid, callback);
    this.refused += 1;
    callback?.(new Error("connection lost"));
  }
}

async function start(store: session.Store): Promise<TestServer> {
  const made = bench({ store });
  const app = routes(express(), made);
  app.get("/save-twice", (req, res) => {
    req.session.count = 1;
    req.session.save(() => req.session.save(() => res.json({})));
  });
  const server = await serve(app);
  open.push(server, { close: () => made.layer.close?.() });
  return server;
}

describe("a session on Redis whose creation was refused", () => {
  let proxy: TcpProxy;
  let redis: Redis;
  beforeAll(async () => {
    const { url } = await sharedRedis();
    proxy = await startTcpProxy(Number(new URL(url).port));
    redis = new Redis(url);
  });
  afterAll(async () => {
    redis?.disconnect();
    await proxy?.close();
  });

  /** A server whose Redis is behind the proxy, and the same store without the proxy. */
  async function startOnRedis(maxPerPrincipal = 100): Promise<{
    server: TestServer;
    direct: RedisSessionStore;
    sessions: () => Promise<number>;
  }> {
    const prefix = `${uniqueName()}:`;
    const { url } = await sharedRedis();
    proxy.latency(0);
    const [behind, direct] = [`redis://127.0.0.1:${proxy.port}`, url].map(
      (client) => new RedisSessionStore({ client, prefix, maxPerPrincipal }),
    ) as [RedisSessionStore, RedisSessionStore];
    await Promise.all([behind.ready(), direct.ready()]);
    const server = await start(behind);
    open.push(behind, direct);
    const sessions = async (): Promise<number> => {
      const keys = await redis.keys(`${prefix}session:*`);
      // "-" marks a session that has ended.
      const values = await Promise.all(keys.map((key) => redis.get(key)));
      return values.filter((value) => value !== null && !value.startsWith("-")).length;
    };
    return { server, direct, sessions };
  }

  it.each([
    { when: "late", ms: TOO_LATE_MS, status: 503, cookies: 0, left: 0 },
    { when: "in time", ms: IN_TIME_MS, status: 200, cookies: 1, left: 1 },
  ])("leaves none behind: log-in, $when", async ({ ms, status, cookies, left }) => {
    const { server, direct, sessions } = await startOnRedis();
    proxy.latency(ms);
    const answer = await server.send("/in/ada");
    expect([answer.status, setCookies(answer).length]).toEqual([status, cookies]);
    await later(SETTLED_MS);
    await expect
      .poll(
        async () => [
          (await direct.listByPrincipal("ada")).length,
          await sessions(),
          (await direct.idsByPrincipal("ada", 0)).length,
        ],
        PATIENCE,
      )
      .toEqual([left, left, left]);
  });

  it.each([
    { when: "late", ms: TOO_LATE_MS, status: 503, cookies: 0, left: 0 },
    { when: "in time", ms: IN_TIME_MS, status: 200, cookies: 1, left: 1 },
  ])("leaves none behind: an anonymous session, $when", async ({ ms, status, cookies, left }) => {
    const { server, sessions } = await startOnRedis();
    proxy.latency(ms);
    const answer = await server.send("/count");
    expect([answer.status, setCookies(answer).length]).toEqual([status, cookies]);
    await later(SETTLED_MS);
    await expect.poll(sessions, PATIENCE).toBe(left);
  });

  it.each([
    { what: "log-in is refused before its session was written", ms: TOO_LATE_MS, status: 503, keeps: true },
    { what: "log-in is refused after its session was written", ms: 180, status: 503, keeps: true },
    { what: "log-in succeeds", ms: 20, status: 200, keeps: false },
  ])("at the bound of sessions: a $what: the earlier session stays: $keeps", async ({ ms, status, keeps }) => {
    const { server, direct } = await startOnRedis(1);
    const cookie = cookieOf(await server.send("/in/ada"));
    proxy.latency(ms);
    expect((await server.send("/in/ada")).status).toBe(status);
    await later(SETTLED_MS);
    proxy.latency(0);
    expect(await direct.listByPrincipal("ada")).toHaveLength(1);
    expect((await server.send("/who", withCookie(cookie))).json()).toMatchObject({ id: keeps ? "ada" : null });
  });
});

describe("a session whose creation was refused, on a store of the app", () => {
  it.each([
    { path: "/in/ada", delay: TOO_LATE_MS, status: 503, left: 0 },
    { path: "/in/ada", delay: IN_TIME_MS, status: 200, left: 1 },
    { path: "/count", delay: TOO_LATE_MS, status: 503, left: 0 },
    { path: "/count", delay: IN_TIME_MS, status: 200, left: 1 },
    { path: "/save-twice", delay: TOO_LATE_MS, status: 503, left: 0 },
    { path: "/save-twice", delay: IN_TIME_MS, status: 200, left: 1 },
  ])("$path, when a write takes $delay ms: $status, and $left sessions stay", async ({ path, delay, status, left }) => {
    const store = new SlowStore();
    const server = await start(store);
    store.delay.set = delay;
    const answer = await server.send(path);
    expect([answer.status, setCookies(answer).length]).toEqual([status, left]);
    await later(SETTLED_MS);
    expect([store.calls.set > 0, store.records.size]).toEqual([true, left]);
  });

  it("is ended as soon as the store ends sessions again", async () => {
    const store = new NoEndsStore();
    const server = await start(store);
    store.delay.set = TOO_LATE_MS;
    expect((await server.send("/in/ada")).status).toBe(503);
    await expect.poll(() => store.records.size, { timeout: 2000 }).toBe(1);
    await later(TOO_LATE_MS);
    expect([store.refused > 0, store.records.size]).toEqual([true, 1]);
    store.refuses = false;
    await expect.poll(() => store.records.size, { timeout: 4000 }).toBe(0);
  });

  it("is not called for when the store was not called", async () => {
    const store = new SlowStore();
    const server = await start(store);
    store.failing = "hang";
    for (let n = 0; n < 5; n += 1) expect((await server.send("/count")).status).toBe(503);
    const { set } = store.calls;
    const answers = await Promise.all(Array.from({ length: 20 }, () => server.send("/count")));
    expect(answers.every(({ status }) => status === 503)).toBe(true);
    expect(set).toBeLessThanOrEqual(5);
    // One for each call, and perhaps one more for a probe.
    expect(store.calls.destroy).toBeLessThanOrEqual(store.calls.set * 2);
  });
});
