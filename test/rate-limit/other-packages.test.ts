import { slowDown } from "express-slow-down";
import { Hono } from "hono";
import { rateLimiter as honoRateLimiter } from "hono-rate-limiter";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { SetupError } from "../../src/core/setup-error.js";
import { SlidingWindowStore } from "../../src/stores/memory/sliding-window/store.js";
import { RedisSlidingWindowStore } from "../../src/stores/redis/sliding-window/store.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type TestServer } from "../support/serve.js";
import { sharedRedis, uniqueName } from "../support/servers.js";

type WindowStore = SlidingWindowStore | RedisSlidingWindowStore;
interface Own {
  readonly limit?: number;
  readonly windowMs?: number;
}

const servers: TestServer[] = [];
const stores: WindowStore[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
  for (const store of stores.splice(0)) await store.shutdown();
});

const KINDS = [
  {
    name: "SlidingWindowStore",
    make: async (own: Own): Promise<WindowStore> => Promise.resolve(new SlidingWindowStore(own)),
  },
  {
    name: "RedisSlidingWindowStore",
    make: async (own: Own): Promise<WindowStore> =>
      new RedisSlidingWindowStore({ redis: (await sharedRedis()).url, prefix: `${uniqueName()}:`, ...own }),
  },
];

describe.each(KINDS)("$name", ({ make }) => {
  async function storeWith(own: Own = {}): Promise<WindowStore> {
    const store = await make(own);
    stores.push(store);
    return store;
  }

  describe.each(EXPRESS)("in the real express-slow-down on $name", ({ express }) => {
    it("counts every hit, so that delays grow, and lets them leave one by one", async () => {
      const app = express();
      const used: unknown[] = [];
      app.use(
        slowDown({
          windowMs: 1000,
          delayAfter: 2,
          delayMs: (hits) => (hits - 2) * 20,
          store: await storeWith(),
          validate: { delayMs: false },
        }),
      );
      app.get("/", (req, res) => {
        used.push((req as unknown as { slowDown: { used: number; delay: number } }).slowDown);
        res.send("ok");
      });
      const server = await serve(app);
      servers.push(server);
      for (let i = 0; i < 5; i += 1) expect((await server.send("/")).status).toBe(200);
      expect(used).toMatchObject([
        { used: 1 },
        { used: 2 },
        { used: 3, delay: 20 },
        { used: 4, delay: 40 },
        { used: 5, delay: 60 },
      ]);
      await sleep(1100);
      await server.send("/");
      expect(used.at(-1)).toMatchObject({ used: 1 });
    });
  });

  describe("in the real hono-rate-limiter", () => {
    async function honoWith(
      options: { limit?: number; skipFailedRequests?: boolean; skipSuccessfulRequests?: boolean },
      own?: Own,
    ) {
      const store = await storeWith(own);
      const app = new Hono();
      app.use(
        honoRateLimiter({
          windowMs: 60_000,
          keyGenerator: (context) => context.req.header("x-client") ?? "",
          store,
          ...options,
        }),
      );
      app.get("/", (context) => context.text("ok", context.req.query("status") === "500" ? 500 : 200));
      const statusOf = async (client: string, path = "/"): Promise<number> =>
        (await app.request(path, { headers: { "x-client": client } })).status;
      return { store, statusOf };
    }

    it("accepts the limit for each client and refuses what comes then", async () => {
      const { statusOf, store } = await honoWith({ limit: 3 });
      const statuses: number[] = [];
      for (let i = 0; i < 5; i += 1) statuses.push(await statusOf("a"));
      expect(statuses).toEqual([200, 200, 200, 429, 429]);
      expect(await statusOf("b")).toBe(200);
      expect(await store.get("a")).toMatchObject({ totalHits: 3 });
      await store.resetKey("a");
      expect(await statusOf("a")).toBe(200);
    });

    it("has that package's own default of 5", async () => {
      const { statusOf } = await honoWith({});
      const statuses: number[] = [];
      for (let i = 0; i < 6; i += 1) statuses.push(await statusOf("a"));
      expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
    });

    it("gives back the unit of each failed request where failures do not count", async () => {
      const { statusOf } = await honoWith({ limit: 2, skipFailedRequests: true });
      for (let i = 0; i < 5; i += 1) expect(await statusOf("a", "/?status=500")).toBe(500);
      expect([await statusOf("a"), await statusOf("a"), await statusOf("a")]).toEqual([200, 200, 429]);
    });
  });

  it("accepts options without a limit, and counts every hit", async () => {
    const store = await storeWith();
    store.init({ windowMs: 60_000 });
    const hits: number[] = [];
    for (let i = 0; i < 8; i += 1) hits.push((await store.increment("k")).totalHits);
    expect(hits).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    await store.decrement("k");
    expect(await store.get("k")).toMatchObject({ totalHits: 7 });
    await store.resetKey("k");
    expect(await store.get("k")).toBeUndefined();
  });

  it("uses its own limit and window where the options have none, and is refused when neither has a window", async () => {
    const store = await storeWith({ limit: 2, windowMs: 60_000 });
    store.init({});
    const hits: number[] = [];
    for (let i = 0; i < 4; i += 1) hits.push((await store.increment("k")).totalHits);
    expect(hits).toEqual([1, 2, 3, 3]);
    const none = await storeWith();
    expect(() => none.init({ limit: 3 })).toThrow(SetupError);
  });
});
