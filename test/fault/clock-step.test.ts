import express from "express";
import { afterAll, expect, test } from "vitest";
import { applySecurity } from "../../src/index.js";
import { serve } from "../support/serve.js";
import { postgresDatabase, sharedRedis, uniqueName } from "../support/servers.js";
import { storeEvents } from "./outage.js";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

const closings: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closings) await close();
});

/** An app on a machine whose wall clock is set while it runs. Redis and PostgreSQL are on others. */
async function start(): Promise<{
  step(ms: number): void;
  visit(path: string): Promise<number>;
  storeEventCount(): number;
}> {
  let offset = 0;
  const clock = { now: () => Date.now() + offset, monotonic: () => performance.now() };
  const app = express();
  const security = applySecurity(
    app,
    {
      secretKey: "kZ3vQ8sW1xY6bN0mR4tU7pL2cD5fG9hJ-fault-tests",
      trustedHosts: ["127.0.0.1"],
      debug: true,
      redis: (await sharedRedis()).url,
      redisPrefix: `${uniqueName()}:`,
      database: await postgresDatabase(),
      rateLimit: { limit: 1_000_000 },
      session: { maxAge: 3600 },
      apiKeys: { hash: "hmac-sha256", cacheSeconds: 0 },
      jwt: { issuer: "https://fault.test", audience: "https://fault.test" },
    },
    { clock },
  );
  app.get(
    "/limited",
    security.rateLimit({ name: "few", limit: 3, windowSeconds: 60, key: "address" }),
    (_req, res) => void res.send("ok"),
  );
  app.post("/log-in", (req, res, next) => {
    security.logIn(req, { id: "ada" }).then(() => res.send("in"), next);
  });
  app.get("/session", security.requireSession(), (_req, res) => void res.send("ok"));
  app.get("/key", security.requireApiKey(), (_req, res) => void res.send("ok"));
  app.get("/token", security.requireJwt(), (_req, res) => void res.send("ok"));
  await security.ready();
  const server = await serve(app);
  closings.push(async () => {
    await server.close();
    await security.close();
  });
  const events = storeEvents(security.events);
  const logIn = await server.send("/log-in", { method: "POST", headers: { "sec-fetch-site": "same-origin" } });
  const { key } = await security.apiKeys.create({ ownerId: "ada", name: "clock" });
  const { accessToken } = await security.jwt.issue("ada");
  const headers: Record<string, Record<string, string>> = {
    "/session": { cookie: (logIn.headers["set-cookie"] ?? []).map((line) => line.split(";")[0]).join("; ") },
    "/key": { "x-api-key": key },
    "/token": { authorization: `Bearer ${accessToken}` },
  };
  return {
    step: (ms) => void (offset += ms),
    visit: async (path) => (await server.send(path, { headers: headers[path] ?? {} })).status,
    storeEventCount: () => events.length,
  };
}

test("a limiter accepts no more than the limit, and loses no slot, when the wall clock is set back or forward", async () => {
  const { step, visit, storeEventCount } = await start();
  expect(await visit("/limited")).toBe(200);
  step(-DAY_MS);
  expect(await visit("/limited")).toBe(200);
  step(2 * DAY_MS);
  expect(await visit("/limited")).toBe(200);
  expect(await visit("/limited")).toBe(429);
  step(-DAY_MS);
  expect(await visit("/limited")).toBe(429);
  expect(storeEventCount()).toBe(0);
});

test("small clock steps, as NTP makes them, have no effect", async () => {
  const { step, visit, storeEventCount } = await start();
  for (const ms of [-2000, 4000, -3000, 1000]) {
    step(ms);
    expect([await visit("/session"), await visit("/key"), await visit("/token")]).toEqual([200, 200, 200]);
  }
  expect(storeEventCount()).toBe(0);
});

test("a step forward ends what has a time to end, and nothing else; set right again, what is not yet over is back", async () => {
  const { step, visit, storeEventCount } = await start();
  step(31 * MINUTE_MS);
  expect([await visit("/session"), await visit("/key"), await visit("/token")]).toEqual([200, 200, 401]);
  step(-31 * MINUTE_MS);
  expect([await visit("/session"), await visit("/key"), await visit("/token")]).toEqual([200, 200, 200]);
  expect(storeEventCount()).toBe(0);
});

test("a step back: tokens from the future are refused, sessions and keys live on, nothing fails", async () => {
  const { step, visit, storeEventCount } = await start();
  step(-DAY_MS);
  expect([await visit("/session"), await visit("/key"), await visit("/token")]).toEqual([200, 200, 401]);
  step(DAY_MS);
  expect([await visit("/session"), await visit("/key"), await visit("/token")]).toEqual([200, 200, 200]);
  expect(storeEventCount()).toBe(0);
});
