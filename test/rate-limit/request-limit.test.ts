import express from "express";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  applySecurity,
  InvalidInputError,
  rateLimiter,
  type RequestRateLimit,
  type SecuritySettings,
} from "../../src/index.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve, type TestServer } from "../support/serve.js";
import { redisSays, type RunningServer, startRedis, uniqueName } from "../support/servers.js";

const SECRET = "Yw3v9hQ2pX7rT5mK8sD1fG6jL4zB0nCq";

describe("req.rateLimit and security.limits", () => {
  const servers: TestServer[] = [];
  const closing: (() => Promise<void>)[] = [];
  let redis: RunningServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.close());
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
    for (const close of closing.splice(0)) await close();
  });

  /** An app whose requests hand out their `req.rateLimit`. */
  async function start(settings: Partial<SecuritySettings>) {
    const app = express();
    const clock = new ManualClock();
    const security = applySecurity(app, { debug: true, ...settings }, { clock });
    closing.push(() => security.close());
    const seen: (RequestRateLimit | undefined)[] = [];
    const take = (req: express.Request, res: express.Response): void => {
      seen.push(req.rateLimit);
      res.send("ok");
    };
    app.get("/route", security.rateLimit({ name: "reports", limit: 2, windowSeconds: 10, key: "address" }), take);
    app.use(take);
    const server = await serve(app);
    servers.push(server);
    await security.ready();
    const ask = async (path = "/", headers: Record<string, string> = {}) =>
      (await server.send(path, { headers })).status;
    const last = (): RequestRateLimit => seen.at(-1)!;
    return { clock, security, ask, last, seen };
  }

  const STORES: [string, () => Partial<SecuritySettings>][] = [
    ["in memory", () => ({})],
    ["in Redis", () => ({ redis: redis.url, redisPrefix: `${uniqueName()}:` })],
  ];

  describe.each(STORES)("%s", (name, store) => {
    it("says what the last limit has counted: that of the route, else the main one", async () => {
      const { clock, ask, last } = await start({ rateLimit: { limit: 5 }, ...store() });
      await ask();
      await ask();
      expect(last()).toMatchObject({ limit: 5, used: 2, remaining: 3 });
      expect(Math.abs(last().resetAt - (clock.now() + 60_000))).toBeLessThan(name === "in memory" ? 1 : 2000);
      await ask("/route");
      expect(last()).toMatchObject({ limit: 2, used: 1, remaining: 1 });
    });

    it("refund takes back what its own request cost, once", async () => {
      const { security, ask, last } = await start({ rateLimit: { limit: 3, cost: 1 }, ...store() });
      const used = async () => (await security.limits.peek("default", "127.0.0.1")).used;
      await ask();
      const first = last();
      await ask();
      expect(await first.refund()).toBe(true);
      expect(await used()).toBe(1);
      expect(await first.refund()).toBe(false);
      expect(await used()).toBe(1);
      await ask();
      await ask();
      expect(await ask()).toBe(429);
      await last().refund();
      expect(await ask()).toBe(200);
    });

    it("refund after a reset does nothing, and takes nothing from later requests", async () => {
      const { security, ask, last } = await start({ rateLimit: { limit: () => 5 }, ...store() });
      await ask();
      const first = last();
      await security.limits.reset("default", "127.0.0.1");
      await ask();
      const second = last();
      expect(await first.refund()).toBe(false);
      expect(await security.limits.peek("default", "127.0.0.1", { limit: 5 })).toMatchObject({ used: 1, remaining: 4 });
      expect(await second.refund()).toBe(true);
      expect(await security.limits.peek("default", "127.0.0.1")).toMatchObject({ used: 0 });
    });

    it("peek and reset know the main limit, perPrincipal and those of routes, and no others", async () => {
      const { security, clock, ask } = await start({
        secretKey: SECRET,
        apiKeys: { hash: "hmac-sha256" },
        rateLimit: { limit: 50, name: "main", perPrincipal: { limit: () => 7 } },
        ...store(),
      });
      const { key } = await security.apiKeys!.create({ ownerId: "ada", name: "k" });
      await ask("/", { "x-api-key": key });
      await ask("/route");
      const { peek, reset } = security.limits;
      expect(await peek("main", "127.0.0.1")).toMatchObject({ used: 2, remaining: 48 });
      expect(await peek("main", "::ffff:127.0.0.1")).toMatchObject({ used: 2 });
      const principal = await peek("main-principal", "ada");
      expect(principal.used).toBe(1);
      expect("remaining" in principal).toBe(false);
      expect(await peek("main-principal", "ada", { limit: 7 })).toMatchObject({ used: 1, remaining: 6 });
      expect(await peek("reports", "127.0.0.1")).toMatchObject({ used: 1, remaining: 1 });
      expect(await peek("reports", "127.0.0.2")).toEqual({ used: 0, remaining: 2, resetAt: clock.now() });
      await reset("reports", "127.0.0.1");
      expect(await peek("reports", "127.0.0.1")).toMatchObject({ used: 0 });
      expect(await peek("main", "127.0.0.1")).toMatchObject({ used: 2 });
      await expect(peek("report", "127.0.0.1")).rejects.toThrow(/no limit with this name. Did you mean "reports"/);
      await expect(reset("default", "127.0.0.1")).rejects.toBeInstanceOf(InvalidInputError);
      await expect(peek("main", "")).rejects.toThrow("1 to 256 characters");
      await expect(peek("main", "a", { limit: 1.5 })).rejects.toThrow("whole number");
    });
  });

  it("refund after the window, or after Redis has lost its data, does nothing", async () => {
    const memory = await start({ rateLimit: { limit: 5 } });
    await memory.ask();
    const early = memory.last();
    memory.clock.advance(60_000);
    await memory.ask();
    expect(await early.refund()).toBe(false);
    expect(await memory.security.limits.peek("default", "127.0.0.1")).toMatchObject({ used: 1 });
    const shared = await start({ rateLimit: { limit: 5 }, redis: redis.url, redisPrefix: `${uniqueName()}:` });
    await shared.ask();
    const lost = shared.last();
    await redisSays(redis.port, "FLUSHALL");
    await shared.ask();
    expect(await lost.refund()).toBe(false);
    expect(await shared.security.limits.peek("default", "127.0.0.1")).toMatchObject({ used: 1 });
  });

  it("rateLimiter() alone has it too, and a limit of express-rate-limit takes its hit back by decrement", async () => {
    const app = express();
    const hits = new Map<string, number>();
    const store = {
      increment: (key: string) => {
        hits.set(key, (hits.get(key) ?? 0) + 1);
        return { totalHits: hits.get(key) ?? 0, resetTime: new Date(Date.now() + 60_000) };
      },
      decrement: (key: string) => void hits.set(key, (hits.get(key) ?? 0) - 1),
      resetKey: (key: string) => void hits.delete(key),
    };
    const limiters = [rateLimiter({ limit: 5 }), rateLimiter({ limit: 4, store })];
    const seen: (RequestRateLimit | undefined)[] = [];
    for (const [index, limiter] of limiters.entries())
      app.use(`/${index}`, limiter, (req, res) => {
        seen.push(req.rateLimit);
        res.send("ok");
      });
    app.use((req, res) => void res.json({ absent: req.rateLimit === undefined }));
    const server = await serve(app);
    servers.push(server);
    await server.send("/0");
    await server.send("/1");
    expect(seen.map((limit) => [limit?.limit, limit?.used])).toEqual([
      [5, 1],
      [4, 1],
    ]);
    expect([...hits.values()]).toEqual([1]);
    expect(await seen[1]!.refund()).toBe(true);
    expect(await seen[1]!.refund()).toBe(false);
    expect([...hits.values()]).toEqual([0]);
    expect((await server.send("/")).json()).toEqual({ absent: true });
  });
});
