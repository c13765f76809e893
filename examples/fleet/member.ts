// One process of the fleet. Settings come by environment variables; prints where it listens, and what its stores do.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createFleetApp } from "./app.js";

const {
  MEMBER_NAME: name = "app",
  PORT: port = "0",
  REDIS_URL: redis = "",
  REDIS_PREFIX: redisPrefix = "",
  DATABASE_URL: database = "",
  SECRET_KEY: secretKey = "",
} = process.env;

const { app, security } = createFleetApp({
  name,
  redis,
  redisPrefix,
  database,
  secretKey,
  storeTimeoutMs: Number(process.env.STORE_TIMEOUT_MS),
});
for (const event of ["portcullis_store_unavailable", "portcullis_store_recovered"] as const) {
  security.events.on(event, ({ source, reason }) =>
    console.log(`${event} source=${source}${reason === undefined ? "" : ` reason=${reason}`}`),
  );
}

await security.ready();
const server = createServer(app).listen(Number(port), "127.0.0.1");
await once(server, "listening");
console.log(`listening ${(server.address() as AddressInfo).port}`);

/** What was begun is answered, then the stores are closed (which writes what they still hold), then the process ends by itself. */
async function end(): Promise<void> {
  server.close();
  server.closeIdleConnections();
  await once(server, "close");
  await security.close();
}

process.once("SIGTERM", () => void end());
// Ctrl+C in a terminal reaches every process of the group; main.ts ends them in order.
process.on("SIGINT", () => undefined);
// Whoever started this process is gone.
process.once("disconnect", () => void end());
process.channel?.unref();
