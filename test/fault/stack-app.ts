import express from "express";
import type { SecurityEvent } from "../../src/core/events.js";
import { type ApiKeyService, applySecurity, type JwtManager } from "../../src/index.js";
import { serve, type TestServer } from "../support/serve.js";
import type { Target } from "./load.js";
import { STORE_TIMEOUT_MS, storeEvents } from "./outage.js";

export interface StackApp {
  server: TestServer;
  events: SecurityEvent[];
  apiKeys: ApiKeyService;
  jwt: JwtManager;
  /** One of each: limiter only, session, API key, access token. */
  targets: Target[];
  close(): Promise<void>;
}

/**
 * Everything that has a store, on one Redis and one database.
 *
 * @param cacheSeconds how long keys are remembered; 0, so that each request with one asks the database, unless given
 * @param usageFlushSeconds how often the uses of keys are written
 */
export async function stackApp(
  redis: string | object,
  database: string,
  redisPrefix: string,
  cacheSeconds = 0,
  usageFlushSeconds = 5,
): Promise<StackApp> {
  const app = express();
  const security = applySecurity(app, {
    secretKey: "kZ3vQ8sW1xY6bN0mR4tU7pL2cD5fG9hJ-fault-tests",
    trustedHosts: ["127.0.0.1"],
    debug: true,
    redis,
    redisPrefix,
    database,
    rateLimit: { limit: 1_000_000, storeTimeoutMs: STORE_TIMEOUT_MS },
    session: { storeTimeoutMs: STORE_TIMEOUT_MS },
    // All callers share the address of the loopback: wrong keys of one must not be counted against the others.
    apiKeys: {
      hash: "hmac-sha256",
      failures: { limit: 10_000 },
      cacheSeconds,
      usageFlushSeconds,
      storeTimeoutMs: STORE_TIMEOUT_MS,
    },
    jwt: { issuer: "https://fault.test", audience: "https://fault.test", storeTimeoutMs: STORE_TIMEOUT_MS },
  });
  app.get("/", (_req, res) => void res.send("ok"));
  app.post("/log-in", (req, res, next) => {
    security.logIn(req, { id: "ada" }).then(() => res.send("in"), next);
  });
  app.post("/log-out", (req, res, next) => {
    security.logOut(req, res).then(() => res.send("out"), next);
  });
  app.get("/session", security.requireSession(), (_req, res) => void res.send("ok"));
  app.get("/key", security.requireApiKey(), (_req, res) => void res.send("ok"));
  app.get("/token", security.requireJwt(), (_req, res) => void res.send("ok"));
  await security.ready();
  const server = await serve(app);
  const logIn = await server.send("/log-in", { method: "POST", headers: { "sec-fetch-site": "same-origin" } });
  const cookie = (logIn.headers["set-cookie"] ?? []).map((line) => line.split(";")[0]).join("; ");
  const { key } = await security.apiKeys.create({ ownerId: "ada", name: "load" });
  const { accessToken } = await security.jwt.issue("ada");
  return {
    server,
    events: storeEvents(security.events),
    apiKeys: security.apiKeys,
    jwt: security.jwt,
    targets: [
      { name: "limiter", path: "/" },
      { name: "session", path: "/session", headers: { cookie } },
      { name: "key", path: "/key", headers: { "x-api-key": key } },
      { name: "token", path: "/token", headers: { authorization: `Bearer ${accessToken}` } },
    ],
    close: async () => {
      await server.close();
      await security.close();
    },
  };
}
