import express from "express";
import session from "express-session";
import { createClient } from "redis";
import { expect, test } from "vitest";
import { applySecurity, settingsFromEnv, SettingsError, SetupError, type SecuritySettings } from "portcullis";
import { RedisSessionStore } from "../../../src/stores/redis/sessions/store.js";
import { serve } from "../../support/serve.js";
import { freePort } from "../../support/servers/process.js";
import { sharedRedis, uniqueName } from "../../support/servers.js";

const base: SecuritySettings = { debug: true, secretKey: "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud", session: {} };

test("REDIS_URL alone puts limits, sessions and revocations on Redis, and close() closes its connections", async () => {
  const { url } = await sharedRedis();
  const security = applySecurity(express(), {
    ...base,
    ...settingsFromEnv({ REDIS_URL: url }),
    redisPrefix: `${uniqueName()}:`,
    jwt: {},
  });
  await security.ready();
  const stores = Object.fromEntries(security.describe().map(({ id, store }) => [id, store]));
  expect(stores).toMatchObject({ "rate-limit": "redis", session: "redis", jwt: "memory; revocations: redis" });
  const { accessToken } = await security.jwt.issue("ada");
  await security.jwt.revokeSubject("ada");
  await expect(security.jwt.verifyAccessToken(accessToken)).rejects.toMatchObject({ code: "revoked" });
  await security.close();
});

test("the Redis URL is a secret: neither settings, describe() nor a failed ready() shows it", async () => {
  const port = await freePort();
  const security = applySecurity(express(), { ...base, redis: `redis://app:hunter2@127.0.0.1:${port}` });
  const reason: unknown = await security.ready().catch((error: unknown) => error);
  expect(reason).toBeInstanceOf(SetupError);
  expect((reason as Error).message).toBe(
    `Redis at 127.0.0.1:${port} did not respond within 5000 ms (connect ECONNREFUSED 127.0.0.1:${port}).`,
  );
  expect(`${JSON.stringify(security.settings)}${JSON.stringify(security.describe())}${String(reason)}`).not.toContain(
    "hunter2",
  );
  await security.close();
});

test("a client of the app's is used and stays open", async () => {
  const client = await createClient({ url: (await sharedRedis()).url }).connect();
  const prefix = `${uniqueName()}:`;
  const security = applySecurity(express(), { ...base, redis: client, redisPrefix: prefix, jwt: {} });
  await security.ready();
  await security.close();
  expect(await client.ping()).toBe("PONG");
  expect(await client.exists(`${prefix}{changes}:state`)).toBe(1);
  client.destroy();
});

test.each([[{}], [new Date()], ["redis:"], ["http://127.0.0.1"], [6379]])("%j as redis is refused at once", (redis) => {
  let thrown: unknown;
  try {
    applySecurity(express(), { ...base, redis } as SecuritySettings);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(SettingsError);
  expect((thrown as SettingsError).issues).toMatchObject([{ path: "redis" }]);
});

test("the Redis session store works with express-session alone: it saves, extends, and a slow request does not undo a log-out", async () => {
  const store = new RedisSessionStore({ client: (await sharedRedis()).url, prefix: `${uniqueName()}:` });
  const app = express();
  app.use(
    session({ store, secret: "s", resave: true, saveUninitialized: false, rolling: true, cookie: { maxAge: 60_000 } }),
  );
  app.get("/count", (req, res) => void res.json((req.session.count = (req.session.count ?? 0) + 1)));
  app.get("/slow", (_req, res) => void setTimeout(() => res.json("slow"), 150));
  app.get("/out", (req, res) => void req.session.destroy(() => res.json("out")));
  const server = await serve(app);
  const first = await server.send("/count");
  const headers = { cookie: (first.headers["set-cookie"] ?? [])[0]?.split(";")[0] ?? "" };
  expect((await server.send("/count", { headers })).text).toBe("2");
  const slow = server.send("/slow", { headers });
  await new Promise((resolve) => setTimeout(resolve, 50));
  await server.send("/out", { headers });
  expect((await slow).status).toBe(200);
  expect((await server.send("/count", { headers })).text).toBe("1");
  await server.close();
  await store.close();
});

declare module "express-session" {
  interface SessionData {
    count?: number;
  }
}
