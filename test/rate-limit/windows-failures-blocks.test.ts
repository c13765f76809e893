import { connect } from "node:net";
import { once } from "node:events";
import express, { type Request } from "express";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { applySecurity, RedisSlidingWindowStore, type SecurityEvent, type SecuritySettings } from "../../src/index.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve, type TestServer } from "../support/serve.js";
import { type RunningServer, startRedis, uniqueName } from "../support/servers.js";

describe("several windows, failures and blocks", () => {
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

  /** An app that answers with the status that the request asks for, once the gate is open. */
  async function start(settings: Partial<SecuritySettings>) {
    const app = express();
    const clock = new ManualClock();
    const security = applySecurity(app, { debug: true, ...settings }, { clock });
    closing.push(() => security.close());
    const events: SecurityEvent[] = [];
    security.events.on("excess_rate_limit_exceeded", (event) => events.push(event));
    const waiting: (() => void)[] = [];
    app.get("/held", (_req, res) => void waiting.push(() => res.send("ok")));
    app.use((req, res) => void res.status(Number(req.query.status ?? 200)).send("ok"));
    const server = await serve(app);
    servers.push(server);
    await security.ready();
    const send = (path = "/") => server.send(path);
    const status = async (path = "/") => (await send(path)).status;
    const release = (): void => {
      for (const answer of waiting.splice(0)) answer();
    };
    const held = async (count: number) => {
      while (waiting.length < count) await new Promise((resolve) => setTimeout(resolve, 2));
    };
    return { clock, security, events, server, send, status, release, held };
  }

  const STORES: [string, () => Partial<SecuritySettings>][] = [
    ["in memory", () => ({})],
    ["in Redis", () => ({ redis: redis.url, redisPrefix: `${uniqueName()}:` })],
  ];

  describe.each(STORES)("%s", (_name, store) => {
    it("a request that one window refuses is recorded in none, and headers show the tightest", async () => {
      const windows = [
        { limit: 2, windowSeconds: 3600 },
        { limit: 3, windowSeconds: 7200 },
      ];
      const { security, send } = await start({ rateLimit: { windows }, ...store() });
      const first = await send();
      expect(first.headers["ratelimit-policy"]).toBe('"default";q=2;w=3600');
      expect(String(first.headers.ratelimit)).toMatch(/^"default";r=1;t=3600$/);
      expect((await send()).status).toBe(200);
      for (let n = 0; n < 3; n += 1) expect((await send()).status).toBe(429);
      // The refusals were recorded nowhere: the longer window has one left.
      expect(await security.limits.peek("default", "127.0.0.1")).toMatchObject({ used: 2, remaining: 0 });
      await security.limits.reset("default", "127.0.0.1");
      expect(await security.limits.peek("default", "127.0.0.1")).toMatchObject({ used: 0, remaining: 2 });
    });

    it("count failures: a success is given back, a failure is not, and requests under way count", async () => {
      const { security, status, release, held } = await start({
        rateLimit: { limit: 3, windowSeconds: 3600, count: "failures" },
        ...store(),
      });
      for (let n = 0; n < 8; n += 1) expect(await status()).toBe(200);
      expect(await status("/?status=401")).toBe(401);
      const used = async () => (await security.limits.peek("default", "127.0.0.1")).used;
      await expect.poll(used).toBe(1);
      const underWay = [status("/held"), status("/held")];
      await held(2);
      expect(await status("/held")).toBe(429);
      release();
      expect(await Promise.all(underWay)).toEqual([200, 200]);
      await expect.poll(used).toBe(1);
      expect([await status("/?status=400"), await status("/?status=500"), await status()]).toEqual([400, 500, 429]);
    });

    it("count failures: of fifty parallel failures exactly as many as the limit are let through", async () => {
      const { status } = await start({ rateLimit: { limit: 7, count: "failures" }, ...store() });
      const answers = await Promise.all(Array.from({ length: 50 }, () => status("/?status=401")));
      expect(answers.filter((answer) => answer === 401)).toHaveLength(7);
      expect(answers.filter((answer) => answer === 429)).toHaveLength(43);
    });

    it("count failures: an aborted connection keeps its unit", async () => {
      const { security, server, held, release } = await start({
        rateLimit: { limit: 5, count: "failures" },
        ...store(),
      });
      const socket = connect(server.port, "127.0.0.1");
      socket.write("GET /held HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
      await held(1);
      socket.destroy();
      await once(socket, "close");
      await new Promise((resolve) => setTimeout(resolve, 50));
      release();
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(await security.limits.peek("default", "127.0.0.1")).toMatchObject({ used: 1 });
    });

    it("a block begins when settled units alone use the limit up, not while others are undecided", async () => {
      const { clock, security, send, status, held, release } = await start({
        rateLimit: { limit: 2, windowSeconds: 10, count: "failures", blockSeconds: 600 },
        ...store(),
      });
      const underWay = [status("/held")];
      await held(1);
      expect(await status("/?status=401")).toBe(401);
      // Two units are taken, one of them undecided: refused, but not blocked.
      expect(Number((await send()).headers["retry-after"])).toBeLessThanOrEqual(10);
      release();
      await Promise.all(underWay);
      await expect.poll(async () => (await security.limits.peek("default", "127.0.0.1")).used).toBe(1);
      expect(await status("/?status=401")).toBe(401);
      const refused = await send();
      expect([refused.status, refused.headers["retry-after"]]).toEqual([429, "600"]);
      expect(Number((await send()).headers["retry-after"])).toBeGreaterThan(590);
      const { remaining, resetAt } = await security.limits.peek("default", "127.0.0.1");
      expect([remaining, resetAt - clock.now() > 590_000]).toEqual([0, true]);
      await security.limits.reset("default", "127.0.0.1");
      expect(await status()).toBe(200);
    });
  });

  it("a block lasts blockSeconds, whatever the window, and then the limit counts again", async () => {
    const { clock, status, events } = await start({ rateLimit: { limit: 2, windowSeconds: 10, blockSeconds: 60 } });
    expect([await status(), await status(), await status()]).toEqual([200, 200, 429]);
    clock.advance(59_999);
    expect(await status()).toBe(429);
    clock.advance(1);
    expect([await status(), await status(), await status()]).toEqual([200, 200, 429]);
    expect(events.map(({ reason }) => reason)).toEqual(["default:block", "default:block", "default:block"]);
  });

  it("refused requests in a block are recorded nowhere", async () => {
    const { clock, status, security } = await start({ rateLimit: { limit: 1, windowSeconds: 100, blockSeconds: 5 } });
    expect([await status(), await status(), await status()]).toEqual([200, 429, 429]);
    expect(await security.limits.peek("default", "127.0.0.1")).toMatchObject({ used: 1 });
    clock.advance(5000);
    expect(await status()).toBe(429);
    clock.advance(100_000);
    expect(await status()).toBe(200);
  });

  it("isFailure decides, and one that throws or gives no boolean makes a failure", async () => {
    const wrong = [
      () => {
        throw new Error("x");
      },
      () => "no" as never,
    ];
    for (const isFailure of wrong) {
      const { status } = await start({ rateLimit: { limit: 1, count: "failures", isFailure } });
      expect([await status(), await status()]).toEqual([200, 429]);
    }
    const own = (_req: Request, res: { statusCode: number }) => res.statusCode === 404;
    const { status } = await start({ rateLimit: { limit: 1, count: "failures", isFailure: own } });
    expect([await status("/?status=500"), await status("/?status=404"), await status()]).toEqual([500, 404, 429]);
  });

  it("a request that another limit refuses gives back no unit of another request", async () => {
    const { security, server } = await start({
      // A limit that is a function has long ticks in Redis, so several requests have one time.
      rateLimit: {
        limit: () => 5,
        windowSeconds: 86_400,
        count: "failures",
        isFailure: (_req, res) => res.statusCode === 401,
        perPrincipal: { limit: 1, windowSeconds: 86_400 },
      },
      secretKey: "Yw3v9hQ2pX7rT5mK8sD1fG6jL4zB0nCq",
      jwt: {},
      redis: redis.url,
      redisPrefix: `${uniqueName()}:`,
    });
    const { accessToken } = await security.jwt!.issue("ada");
    const headers = { Authorization: `Bearer ${accessToken}` };
    const statuses: number[] = [];
    for (let n = 0; n < 3; n += 1) statuses.push((await server.send("/?status=401", { headers })).status);
    expect(statuses).toEqual([401, 429, 429]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await security.limits.peek("default", "127.0.0.1")).toMatchObject({ used: 1 });
  });

  it("two windows are one round trip to Redis", async () => {
    let calls = 0;
    class Counted extends RedisSlidingWindowStore {
      override consumeAll(...args: Parameters<RedisSlidingWindowStore["consumeAll"]>) {
        calls += 1;
        return super.consumeAll(...args);
      }
      override consume(...args: Parameters<RedisSlidingWindowStore["consume"]>) {
        calls += 1;
        return super.consume(...args);
      }
    }
    const store = new Counted({ redis: redis.url, prefix: `${uniqueName()}:` });
    closing.push(() => store.close());
    const windows = [
      { limit: 2, windowSeconds: 1 },
      { limit: 50, windowSeconds: 60 },
    ];
    const { status } = await start({ rateLimit: { windows, store } });
    expect(await status()).toBe(200);
    expect(calls).toBe(1);
  });
});
