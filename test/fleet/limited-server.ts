// One of several server processes of the same app on one Redis. Prints its port when it serves; ends with SIGTERM.
import express from "express";
import type { AddressInfo } from "node:net";
import { applySecurity } from "../../src/index.js";
import { RedisSlidingWindowStore } from "../../src/stores/redis/sliding-window/store.js";

const [, , redis = "", prefix = "", limit = "", windowSeconds = ""] = process.argv;
const store = new RedisSlidingWindowStore({ redis, prefix });
const app = express();
const security = applySecurity(app, {
  secretKey: "uR3vJ0qB7nYw2LxZ5mKd8TfGs1HcPa9EoV6i",
  trustedHosts: ["127.0.0.1"],
  trustProxy: 1,
  // "deny", and a patience that no load of the tests exhausts: what is counted here is what Redis lets in, and nothing else.
  rateLimit: {
    limit: Number(limit),
    windowSeconds: Number(windowSeconds),
    store,
    onStoreError: "deny",
    storeTimeoutMs: 20_000,
  },
});
app.get("/", (_req, res) => {
  res.send("in");
});
await security.ready();
await store.ready();
const server = app.listen(0, "127.0.0.1", () =>
  process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`),
);
process.on("SIGTERM", () => {
  server.closeAllConnections();
  server.close();
  void security.close().then(() => store.close());
});
