import express from "express";
import type { SecurityEvent } from "../../src/core/events.js";
import { applySecurity } from "../../src/index.js";
import { RedisSlidingWindowStore } from "../../src/stores/redis/index.js";
import { serve, type TestServer } from "../support/serve.js";
import { STORE_TIMEOUT_MS, storeEvents } from "./outage.js";

export interface LimiterApp {
  server: TestServer;
  events: SecurityEvent[];
  close(): Promise<void>;
}

export const OPEN = { name: "GET /", path: "/" };

/** An app whose limiter counts in Redis. */
export async function limiterApp(
  redis: string | object,
  onStoreError: "local" | "allow" | "deny" = "local",
  limit = 1_000_000,
): Promise<LimiterApp> {
  const store = new RedisSlidingWindowStore({ redis });
  await store.ready();
  const app = express();
  const security = applySecurity(app, {
    trustedHosts: ["127.0.0.1"],
    rateLimit: { limit, store, onStoreError, storeTimeoutMs: STORE_TIMEOUT_MS },
  });
  app.get("/", (_req, res) => void res.send("ok"));
  const server = await serve(app);
  return {
    server,
    events: storeEvents(security.events),
    close: async () => {
      await server.close();
      await security.close();
      await store.close();
    },
  };
}
