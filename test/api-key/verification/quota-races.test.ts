import express from "express";
import { afterEach, describe, expect, it } from "vitest";
import { apiKeyAuth } from "../../../src/api-key/middleware.js";
import { apiKeyRoutes } from "../../../src/api-key/routes.js";
import type { CreatedApiKey } from "../../../src/api-key/types.js";
import type { RateLimitStore } from "../../../src/stores/contracts.js";
import { MemoryApiKeyStore } from "../../../src/stores/memory/api-key-store.js";
import { SlidingWindowStore } from "../../../src/stores/memory/sliding-window/store.js";
import { RedisSlidingWindowStore } from "../../../src/stores/redis/sliding-window/store.js";
import { serve, type TestServer } from "../../support/serve.js";
import { sharedRedis, uniqueName } from "../../support/servers.js";
import { bench } from "../support.js";

const LIMIT = 60;
const rateLimit = { limit: LIMIT, windowSeconds: 86_400 };

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

/** What counts for both processes. */
const LIMITERS: readonly (readonly [string, () => Promise<RateLimitStore>])[] = [
  ["in memory", async () => new SlidingWindowStore()],
  [
    "in Redis",
    async () => {
      const { url } = await sharedRedis();
      return new RedisSlidingWindowStore({ redis: url, prefix: `${uniqueName()}:` });
    },
  ],
];

/** ASVS 5.0 V15.4.2: the check of a quota and its use are one step, also where one quota is met under many ids. */
describe.each(LIMITERS)("the limit of a key, counted %s by two processes", (_name, newLimiter) => {
  it("holds while the key, its successors and the keys they create are used, rotated and created at once", async () => {
    const limiter = await newLimiter();
    open.push({ close: () => limiter.close() });
    const store = new MemoryApiKeyStore({ maxKeys: 100_000 });
    // The servers' speed on a busy machine is not what is tested: an answer that is late would be counted by each process alone.
    const processes = [
      bench({ store, storeTimeoutMs: 10_000 }, { limiter }),
      bench({ store, storeTimeoutMs: 10_000 }, { limiter }),
    ];
    const servers: TestServer[] = [];
    for (const { service } of processes) {
      const app = express()
        .use(apiKeyAuth(service))
        .get("/me", (_req, res) => void res.json({}));
      const server = await serve(app.use(apiKeyRoutes(service)));
      servers.push(server);
      open.unshift(server, service);
    }
    const [here] = processes;
    const make = () => here!.service.create({ ownerId: "eve", name: "k", scopes: ["api-keys:manage"], rateLimit });
    const [first, other] = [await make(), await make()];

    const keys = new Map([[first.record.id, first.key]]);
    let served = 0;
    const send = async (
      server: TestServer,
      key: string,
      method: string,
      path: string,
      body?: object,
    ): Promise<void> => {
      const headers = { "x-api-key": key, ...(body && { "content-type": "application/json" }) };
      const answer = await server.send(path, { method, headers, ...(body && { body: JSON.stringify(body) }) });
      if (answer.status === 429) return;
      served += 1;
      if (answer.status !== 201) return;
      const made = answer.json() as CreatedApiKey;
      keys.set(made.record.id, made.key);
    };
    let before: number;
    do {
      before = served;
      const calls = [...keys].flatMap(([id, key]) =>
        servers.flatMap((server) => [
          send(server, key, "GET", "/me"),
          send(server, key, "POST", "/", { name: "child", scopes: ["api-keys:manage"] }),
          send(server, key, "POST", `/${id}/rotate`, { graceSeconds: 3600 }),
        ]),
      );
      await Promise.all(calls);
    } while (served > before && served <= LIMIT);

    expect(processes.flatMap(({ events }) => events).filter(({ event }) => event.startsWith("portcullis_"))).toEqual(
      [],
    );
    expect(keys.size).toBeGreaterThan(8);
    expect(served).toBe(LIMIT);
    // A key of the same owner that no key of these has made has its own count.
    served = 0;
    await Promise.all(Array.from({ length: 2 * LIMIT }, (_, n) => send(servers[n % 2]!, other.key, "GET", "/me")));
    expect(served).toBe(LIMIT);
  });
});
