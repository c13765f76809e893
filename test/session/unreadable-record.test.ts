import express from "express";
import { Redis } from "ioredis";
import { afterEach, expect, it } from "vitest";
import { RedisSessionStore } from "../../src/stores/redis/sessions/store.js";
import { serve } from "../support/serve.js";
import { sharedRedis, uniqueName } from "../support/servers.js";
import { bench, cookieOf, routes, SlowStore, withCookie } from "./support.js";

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

const outages = (names: readonly string[]): string[] => names.filter((name) => name.startsWith("portcullis_"));

it("a Redis list under the key of a session: its visitor is anonymous, others stay logged in", async () => {
  const { url } = await sharedRedis();
  const prefix = `${uniqueName()}:`;
  const store = new RedisSessionStore({ client: url, prefix });
  const made = bench({ store, storeTimeoutMs: 2000 });
  const server = await serve(routes(express(), made));
  const redis = new Redis(url);
  open.push(server, { close: () => made.layer.close?.() }, store, { close: () => redis.disconnect() });
  const cookie = cookieOf(await server.send("/in/ada"));
  const twin = cookieOf(await server.send("/in/eve"));
  const [ada] = await store.listByPrincipal("ada");
  await redis.del(`${prefix}session:${ada?.sid}`);
  await redis.rpush(`${prefix}session:${ada?.sid}`, "one", "two");
  for (const path of ["/who", "/plain"]) expect((await server.send(path, withCookie(cookie))).status).toBe(200);
  expect((await server.send("/who", withCookie(cookie))).json()).toMatchObject({ id: null });
  expect((await server.send("/who", withCookie(twin))).json()).toMatchObject({ id: "eve" });
  const fresh = await server.send("/count", withCookie(cookie));
  expect([fresh.status, fresh.json()]).toEqual([200, { count: 1 }]);
  expect((await server.send("/read", withCookie(cookieOf(fresh)))).json()).toEqual({ count: 1 });
  expect(outages(made.names())).toEqual([]);
});

it("a damaged record in a store of the app: its visitor is anonymous, others stay logged in", async () => {
  const store = new SlowStore();
  const made = bench({ store, storeTimeoutMs: 2000 });
  const server = await serve(routes(express(), made));
  open.push(server, { close: () => made.layer.close?.() });
  const cookie = cookieOf(await server.send("/in/ada"));
  const [sid = ""] = store.records.keys();
  const twin = cookieOf(await server.send("/in/eve"));
  const parsed = { get: (...args: Parameters<SlowStore["get"]>) => SlowStore.prototype.get.apply(store, args) };
  // A store for express-session parses the JSON of a record, and passes on what `JSON.parse` throws.
  store.get = (id, callback) => (id === sid ? callback(jsonError()) : parsed.get(id, callback));
  const answer = await server.send("/who", withCookie(cookie));
  expect([answer.status, answer.json()]).toMatchObject([200, { id: null }]);
  expect((await server.send("/who", withCookie(twin))).json()).toMatchObject({ id: "eve" });
  expect(outages(made.names())).toEqual([]);
});

function jsonError(): unknown {
  try {
    return JSON.parse("{broken");
  } catch (error) {
    return error;
  }
}
