import type { RequestHandler } from "express";
import { type Options, rateLimit } from "express-rate-limit";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { SetupError } from "../../../../src/core/setup-error.js";
import { RedisSlidingWindowStore } from "../../../../src/stores/redis/sliding-window/store.js";
import { EXPRESS } from "../../../support/express-versions.js";
import { serve, type TestServer } from "../../../support/serve.js";
import { sharedRedis, uniqueName } from "../../../support/servers.js";

/** Their logger, kept: a store that breaks that package's own checks says so here. */
function recorder() {
  const said: string[] = [];
  const say = (error: unknown, message?: string) =>
    void said.push(`${message ?? ""} ${error instanceof Error ? error.message : String(error)}`);
  return { said, logger: { error: say, warn: say } };
}

describe.each(EXPRESS)("RedisSlidingWindowStore in the real express-rate-limit on $name", ({ express }) => {
  const servers: TestServer[] = [];
  const stores: RedisSlidingWindowStore[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
    for (const store of stores.splice(0)) await store.shutdown();
  });

  async function makeStore(settings: Partial<ConstructorParameters<typeof RedisSlidingWindowStore>[0]> = {}) {
    const { url } = await sharedRedis();
    const store = new RedisSlidingWindowStore({ redis: url, prefix: `${uniqueName()}:`, ...settings });
    stores.push(store);
    await store.ready();
    return store;
  }

  async function start(
    options: Partial<Options>,
    settings: Partial<ConstructorParameters<typeof RedisSlidingWindowStore>[0]> = {},
  ) {
    const store = await makeStore(settings);
    const { said, logger } = recorder();
    const app = express();
    const limiter = rateLimit({
      windowMs: 60_000,
      limit: 3,
      standardHeaders: "draft-8",
      legacyHeaders: false,
      logger,
      ...options,
      store,
    });
    const answer: RequestHandler = (req, res) => {
      const wait = Number(req.query.wait ?? 0);
      const status = Number(req.query.status ?? 200);
      setTimeout(() => res.status(status).send("done"), wait);
    };
    app.use(limiter);
    app.get("/", answer);
    const server = await serve(app);
    servers.push(server);
    return { server, store, limiter, said };
  }

  it("is exact: what is refused is not recorded, and a slot frees when the oldest request leaves", async () => {
    const { server, said } = await start({ windowMs: 1500 });
    const first = Date.now();
    let firstAnswered = NaN;
    for (const remaining of [2, 1, 0]) {
      const answer = await server.send("/");
      if (remaining === 2) firstAnswered = Date.now();
      expect(answer.status).toBe(200);
      expect(answer.headers.ratelimit).toMatch(new RegExp(`; r=${remaining}; t=[12]$`));
      await sleep(200);
    }
    const refusedAt: number[] = [];
    for (let status = 429; status !== 200; await sleep(20)) {
      const sent = Date.now();
      const answer = await server.send("/");
      ({ status } = answer);
      if (status !== 429) continue;
      refusedAt.push(sent);
      expect(answer.headers["retry-after"]).toMatch(/^[12]$/);
    }
    // Knocking all the time did not keep it out: nothing sent a window after the first is refused, and nothing sooner let in.
    expect(Date.now() - first).toBeGreaterThanOrEqual(1500);
    expect(refusedAt.length).toBeGreaterThan(0);
    expect((refusedAt.at(-1) ?? NaN) - firstAnswered).toBeLessThan(1500 + 10);
    expect(said).toEqual([]);
  });

  it("answers resetKey and getKey of the middleware", async () => {
    const { server, limiter, store } = await start({ limit: 1, keyGenerator: () => "me" });
    await server.send("/");
    const info = await limiter.getKey("me");
    expect(info).toMatchObject({ totalHits: 1 });
    expect((info?.resetTime?.getTime() ?? NaN) - Date.now()).toBeGreaterThan(55_000);
    expect(await limiter.getKey("you")).toBeUndefined();
    expect((await server.send("/")).status).toBe(429);
    await store.resetKey("me");
    expect((await server.send("/")).status).toBe(200);
  });

  it("counts several processes together, and different prefixes separately", async () => {
    const prefix = `${uniqueName()}:`;
    const one = await start({ keyGenerator: () => "me" }, { prefix });
    const two = await start({ keyGenerator: () => "me" }, { prefix });
    const apart = await start({ keyGenerator: () => "me" });
    const statuses: number[] = [];
    for (const { server } of [one, two, one, two, apart]) statuses.push((await server.send("/")).status);
    expect(statuses).toEqual([200, 200, 200, 429, 200]);
  });

  it("with skipFailedRequests gives back the unit of a failed request, and none for a refused one", async () => {
    const { server, store, said } = await start({ skipFailedRequests: true, keyGenerator: () => "me" });
    for (let i = 0; i < 10; i += 1) {
      expect((await server.send("/?status=500")).status).toBe(500);
      await sleep(10);
    }
    await sleep(50);
    expect(await store.get("me")).toBeUndefined();
    for (let i = 0; i < 3; i += 1) expect((await server.send("/")).status).toBe(200);
    // A refusal is a failed request for that package, which un-counts it: no accepted request may pay for that.
    for (let i = 0; i < 10; i += 1) {
      expect((await server.send("/")).status).toBe(429);
      await sleep(5);
    }
    expect((await store.get("me"))?.totalHits).toBe(3);
    expect(said).toEqual([]);
  });

  it("gives back each request's own hit when several are under way", async () => {
    const { server, store } = await start({ skipFailedRequests: true, windowMs: 3000, keyGenerator: () => "me" });
    const failing = server.send("/?status=500&wait=600");
    await sleep(400);
    expect((await server.send("/")).status).toBe(200);
    const later = Date.now();
    await failing;
    await sleep(50);
    const left = await store.get("me");
    expect(left?.totalHits).toBe(1);
    // What is left is the later hit: the failed one would leave 400 ms earlier.
    expect(Math.abs((left?.resetTime?.getTime() ?? NaN) - later - 3000)).toBeLessThan(200);
  });

  it("needs its own limit when the middleware's limit is a function, and refuses requests without it", async () => {
    const { server, said } = await start({ limit: () => 2 });
    expect(said.join()).toContain("new RedisSlidingWindowStore({ limit })");
    expect((await server.send("/")).status).toBe(500);
    const bounded = await start({ limit: () => 2 }, { limit: 3 });
    const statuses: number[] = [];
    for (let i = 0; i < 5; i += 1) statuses.push((await bounded.server.send("/")).status);
    expect(statuses).toEqual([200, 200, 429, 429, 429]);
  });

  it("has its own limit, or none, without options of that package", async () => {
    await expect((await makeStore()).increment("k")).rejects.toThrow(SetupError);
    const store = await makeStore({ limit: 2, windowMs: 1000 });
    expect((await store.increment("k")).totalHits).toBe(1);
    await store.decrement("k");
    expect((await store.increment("k")).totalHits).toBe(1);
    expect((await store.increment("k")).totalHits).toBe(2);
    expect((await store.increment("k")).totalHits).toBe(3);
    expect(() => store.init({ limit: 3, windowMs: 1000 })).toThrow(SetupError);
  });
});
