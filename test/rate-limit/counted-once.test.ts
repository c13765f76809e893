import type { Express, RequestHandler } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { applySecurity } from "../../src/apply-security.js";
import { rateLimiter } from "../../src/rate-limit/middleware.js";
import { RedisSlidingWindowStore } from "../../src/stores/redis/sliding-window/store.js";
import { SlidingWindowStore } from "../../src/stores/memory/sliding-window/store.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type TestServer } from "../support/serve.js";
import { sharedRedis, uniqueName } from "../support/servers.js";

const ok: RequestHandler = (_req, res) => void res.send("ok");

describe.each(EXPRESS)("a request is counted once on $name", ({ express }) => {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
  });

  async function start(app: Express): Promise<TestServer> {
    const server = await serve(app);
    ends.push(() => server.close());
    return server;
  }

  /** What is left after one request, and the statuses of three at a limit of two. */
  async function remaining(server: TestServer, path: string): Promise<number[]> {
    const statuses: number[] = [];
    for (let i = 0; i < 3; i += 1) statuses.push((await server.send(path)).status);
    return statuses;
  }
  const ONCE = [200, 200, 429];

  it("by rateLimiter() on the app, a router and a route", async () => {
    const limit = rateLimiter({ limit: 2 });
    const app = express();
    const router = express.Router();
    app.use(limit, limit);
    router.use(limit);
    router.get("/x", limit, limit, ok);
    app.use("/r", router);
    expect(await remaining(await start(app), "/r/x")).toEqual(ONCE);
  });

  it("by two limiters, in each of them", async () => {
    const app = express();
    app.use(rateLimiter({ limit: 2 }), rateLimiter({ limit: 2 }));
    app.get("/", ok);
    expect(await remaining(await start(app), "/")).toEqual(ONCE);
  });

  it("when app.handle sends it through the layers again", async () => {
    const app = express();
    const security = applySecurity(app, { trustedHosts: ["127.0.0.1"], rateLimit: { limit: 2 } });
    ends.push(() => security.close());
    app.get("/old", (req, res, next) => {
      req.url = "/new";
      (app as unknown as { handle: RequestHandler }).handle(req, res, next);
    });
    app.get("/new", ok);
    expect(await remaining(await start(app), "/old")).toEqual(ONCE);
  });

  it.each(["memory", "redis"])("by security.rateLimit of one name, mounted four times, in %s", async (place) => {
    const store =
      place === "memory"
        ? new SlidingWindowStore()
        : new RedisSlidingWindowStore({ redis: (await sharedRedis()).url, prefix: `${uniqueName()}:` });
    ends.push(() => store.close());
    await store.peek({ name: "connect", limit: 1, windowMs: 1000 }, "first", 1);
    const app = express();
    const security = applySecurity(app, { trustedHosts: ["127.0.0.1"], rateLimit: { store } });
    ends.push(() => security.close());
    const make = (): RequestHandler => security.rateLimit({ name: "x", limit: 2 });
    const shared = make();
    const router = express.Router();
    router.use(shared);
    router.get("/", shared, make(), ok);
    app.use(shared, make());
    app.use("/r", router);
    expect(await remaining(await start(app), "/r")).toEqual(ONCE);
  });

  it("and is still compared with a lower limit of the same name, and counted at a higher cost", async () => {
    const app = express();
    const security = applySecurity(app, { trustedHosts: ["127.0.0.1"], rateLimit: { limit: 1000 } });
    ends.push(() => security.close());
    app.use(security.rateLimit({ name: "x", limit: 10 }));
    app.get("/low", security.rateLimit({ name: "x", limit: 2 }), ok);
    app.get("/dear", security.rateLimit({ name: "x", limit: 10, cost: 4 }), ok);
    const server = await start(app);
    expect(await remaining(server, "/low")).toEqual(ONCE);
    // Three are counted; each of these counts four.
    expect([(await server.send("/dear")).status, (await server.send("/dear")).status]).toEqual([200, 429]);
  });

  it.each([
    ["the same limit", 2],
    ["a lower limit", 1],
  ])("and is refused by a limit that follows %s of its name in report mode", async (_what, trial) => {
    const app = express();
    const security = applySecurity(app, { trustedHosts: ["127.0.0.1"], rateLimit: { limit: 1000 } });
    ends.push(() => security.close());
    app.use("/first", security.rateLimit({ name: "x", limit: 100 }));
    app.use(security.rateLimit({ name: "x", limit: trial, mode: "report" }));
    app.get(["/", "/first"], security.rateLimit({ name: "x", limit: 2 }), ok);
    const server = await start(app);
    for (const status of [200, 200, 429, 429]) expect((await server.send("/")).status).toBe(status);
    expect((await server.send("/first")).status).toBe(429);
  });

  it("and the next request on the same connection counts too", async () => {
    const app = express();
    app.use(rateLimiter({ limit: 2 }));
    app.get("/", ok);
    expect(await remaining(await start(app), "/")).toEqual(ONCE);
  });
});
