import type { RequestHandler } from "express";
import { type Options, rateLimit } from "express-rate-limit";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { SetupError } from "../../../../src/core/setup-error.js";
import { SlidingWindowStore } from "../../../../src/stores/memory/sliding-window/store.js";
import { EXPRESS } from "../../../support/express-versions.js";
import { ManualClock } from "../../../support/manual-clock.js";
import { serve, type TestServer } from "../../../support/serve.js";

/** Their logger, kept: a store that breaks that package's own checks says so here. */
function recorder() {
  const said: string[] = [];
  const say = (error: unknown, message?: string) =>
    void said.push(`${message ?? ""} ${error instanceof Error ? error.message : String(error)}`);
  return { said, logger: { error: say, warn: say } };
}

describe.each(EXPRESS)("SlidingWindowStore in the real express-rate-limit on $name", ({ express }) => {
  const servers: TestServer[] = [];
  const stores: SlidingWindowStore[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
    for (const store of stores.splice(0)) store.shutdown();
  });

  async function start(options: Partial<Options>, settings: ConstructorParameters<typeof SlidingWindowStore>[0] = {}) {
    const clock = new ManualClock();
    // Windows follow the manual clock; the wall clock is the real one, which that package compares `resetTime` with.
    const store = new SlidingWindowStore({
      clock: { now: () => Date.now(), monotonic: () => clock.monotonic() },
      ...settings,
    });
    stores.push(store);
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
    return { server, store, clock, limiter, said };
  }

  it("is exact: what is refused is not recorded, and a slot frees when the oldest request leaves", async () => {
    const { server, clock, said } = await start({});
    for (const remaining of [2, 1, 0]) {
      const answer = await server.send("/");
      expect(answer.status).toBe(200);
      expect(answer.headers.ratelimit).toMatch(new RegExp(`^"3-in-1min"; r=${remaining}; t=(60|40|20)$`));
      clock.advance(20_000);
    }
    // 60 s after the first request its slot is free; 20 s later the second one's.
    expect((await server.send("/")).status).toBe(200);
    for (let i = 0; i < 10; i += 1) {
      const refused = await server.send("/");
      expect(refused.status).toBe(429);
      expect(refused.headers["retry-after"]).toMatch(/^20$/);
    }
    clock.advance(19_999);
    expect((await server.send("/")).status).toBe(429);
    clock.advance(1);
    expect((await server.send("/")).status).toBe(200);
    expect(said).toEqual([]);
  });

  it("answers resetKey and getKey of the middleware", async () => {
    const { server, limiter, store } = await start({ limit: 1, keyGenerator: () => "me" });
    await server.send("/");
    expect(await limiter.getKey("me")).toMatchObject({ totalHits: 1 });
    expect(await limiter.getKey("you")).toBeUndefined();
    expect((await server.send("/")).status).toBe(429);
    limiter.resetKey("me");
    expect((await server.send("/")).status).toBe(200);
    store.resetAll();
    expect((await server.send("/")).status).toBe(200);
  });

  it("with skipFailedRequests gives back the unit of a failed request, and none for a refused one", async () => {
    const { server, store, said } = await start({ skipFailedRequests: true, keyGenerator: () => "me" });
    for (let i = 0; i < 10; i += 1) expect((await server.send("/?status=500")).status).toBe(500);
    await sleep(20);
    expect(store.get("me")).toBeUndefined();
    for (let i = 0; i < 3; i += 1) expect((await server.send("/")).status).toBe(200);
    // A refusal is a failed request for that package, which un-counts it: no accepted request may pay for that.
    for (let i = 0; i < 10; i += 1) {
      expect((await server.send("/")).status).toBe(429);
      await sleep(2);
    }
    expect(store.get("me")?.totalHits).toBe(3);
    expect(said).toEqual([]);
  });

  it("with skipFailedRequests gives back the unit of a slow failed request although older ones have left the window", async () => {
    const { server, store, clock } = await start({ skipFailedRequests: true, windowMs: 600, keyGenerator: () => "me" });
    expect((await server.send("/")).status).toBe(200);
    await sleep(350);
    clock.advance(350);
    // Ends after the first request's record has left, and before its own does.
    const slow = server.send("/?status=500&wait=400");
    await sleep(20);
    expect(store.get("me")?.totalHits).toBe(2);
    await slow;
    clock.advance(400);
    await sleep(20);
    expect(store.get("me")).toBeUndefined();
  });

  it("with skipSuccessfulRequests keeps guesses limited although the app's function calls a refusal a success", async () => {
    const { server, store } = await start({
      skipSuccessfulRequests: true,
      requestWasSuccessful: (_req, res) => res.statusCode !== 401,
      keyGenerator: () => "me",
    });
    for (let i = 0; i < 10; i += 1) expect((await server.send("/")).status).toBe(200);
    await sleep(20);
    for (let i = 0; i < 3; i += 1) expect((await server.send("/?status=401")).status).toBe(401);
    for (let i = 0; i < 10; i += 1) {
      expect((await server.send("/?status=401")).status).toBe(429);
      await sleep(2);
    }
    expect(store.get("me")?.totalHits).toBe(3);
  });

  it("gives back each request's own hit when several are under way", async () => {
    const { server, store, clock } = await start({ skipFailedRequests: true, keyGenerator: () => "me" });
    const failing = server.send("/?status=500&wait=150");
    await sleep(50);
    clock.advance(10_000);
    expect((await server.send("/")).status).toBe(200);
    await failing;
    await sleep(20);
    // What is left is the later hit: it leaves 60 s after its own time, not after the failed one's.
    expect(store.get("me")?.totalHits).toBe(1);
    clock.advance(59_999);
    expect(store.get("me")?.totalHits).toBe(1);
    clock.advance(1);
    expect(store.get("me")).toBeUndefined();
  });

  it("needs its own limit when the middleware's limit is a function, and refuses requests without it", async () => {
    const { server, said } = await start({ limit: () => 2 });
    expect(said.join()).toContain("new SlidingWindowStore({ limit })");
    expect((await server.send("/")).status).toBe(500);

    const bounded = await start({ limit: () => 2 }, { limit: 3 });
    const statuses = [];
    for (let i = 0; i < 5; i += 1) statuses.push((await bounded.server.send("/")).status);
    expect(statuses).toEqual([200, 200, 429, 429, 429]);

    // The function may not lift the store's bound.
    const lower = await start({ limit: () => 100 }, { limit: 2 });
    const answers = [];
    for (let i = 0; i < 4; i += 1) answers.push((await lower.server.send("/")).status);
    expect(answers).toEqual([200, 200, 429, 429]);
  });

  it("refuses options that disagree with its own, and accepts no request with a limit of 0", async () => {
    const store = new SlidingWindowStore({ limit: 5, windowMs: 1000 });
    expect(() => store.init({ limit: 6, windowMs: 1000 })).toThrow(SetupError);
    expect(() => store.increment("k")).toThrow(SetupError);
    expect(() => store.init({ limit: 5, windowMs: 2000 })).toThrow(SetupError);
    expect(() => new SlidingWindowStore().increment("k")).toThrow(SetupError);
    store.init({ limit: 5, windowMs: 1000 });
    expect(store.increment("k").totalHits).toBe(1);
    store.shutdown();

    const { server } = await start({ limit: 0 });
    expect((await server.send("/")).status).toBe(429);
  });
});
