import type { Request } from "express";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  applySecurity,
  rateLimiter,
  type SecurityEvent,
  type SecuritySettings,
  SecurityEvents,
} from "../../src/index.js";
import { createPrincipal } from "../../src/core/principal.js";
import { EXPRESS } from "../support/express-versions.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve, type TestServer } from "../support/serve.js";
import { type RunningServer, startRedis, uniqueName } from "../support/servers.js";

const planOf = (req: Request): string => String(req.headers["x-plan"]);
const BY_PLAN: Readonly<Record<string, number>> = { free: 2, pro: 4, none: 0, huge: 10_000_000 };
const limit = (req: Request): number => BY_PLAN[planOf(req)] ?? NaN;

describe.each(EXPRESS)("a limit that is a function, on $name", ({ express }) => {
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

  async function start(rateLimit: SecuritySettings["rateLimit"], more: Partial<SecuritySettings> = {}) {
    const app = express();
    const clock = new ManualClock();
    const security = applySecurity(app, { debug: true, rateLimit, ...more }, { clock });
    closing.push(() => security.close());
    const events: SecurityEvent[] = [];
    security.events.on("*", (event) => events.push(event));
    app.get("/", (_req, res) => void res.send("ok"));
    const server = await serve(app);
    servers.push(server);
    await security.ready();
    events.length = 0;
    const send = (plan: string) => server.send("/", { headers: { "x-plan": plan } });
    return { app, clock, security, events, server, send };
  }

  const STORES: [string, () => Partial<SecuritySettings>][] = [
    ["in memory", () => ({})],
    ["in Redis", () => ({ redis: redis.url, redisPrefix: `${uniqueName()}:` })],
  ];

  it.each(STORES)(
    "%s: shows its number in RateLimit-Policy, and a change of plan keeps the count",
    async (_name, more) => {
      const { send } = await start({ limit }, more());
      const policy = async (plan: string) => {
        const { status, headers } = await send(plan);
        return [status, headers["ratelimit-policy"], /r=(\d+)/.exec(String(headers.ratelimit))?.[1]];
      };
      expect(await policy("free")).toEqual([200, '"default";q=2;w=60', "1"]);
      expect(await policy("free")).toEqual([200, '"default";q=2;w=60', "0"]);
      expect(await policy("free")).toEqual([429, '"default";q=2;w=60', "0"]);
      expect(await policy("pro")).toEqual([200, '"default";q=4;w=60', "1"]);
      expect(await policy("pro")).toEqual([200, '"default";q=4;w=60', "0"]);
      expect(await policy("pro")).toEqual([429, '"default";q=4;w=60', "0"]);
      expect(await policy("free")).toEqual([429, '"default";q=2;w=60', "0"]);
      expect(await policy("none")).toEqual([429, '"default";q=0;w=60', "0"]);
      expect(await policy("huge")).toEqual([200, '"default";q=100000;w=60', "99995"]);
    },
  );

  it("may be asynchronous, and maxLimit cuts what it returns", async () => {
    const slow = async (req: Request) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return limit(req);
    };
    const { send } = await start({ limit: slow, maxLimit: 3 });
    expect((await send("huge")).headers["ratelimit-policy"]).toBe('"default";q=3;w=60');
    expect((await send("free")).status).toBe(200);
    expect((await send("free")).status).toBe(429);
  });

  it.each([
    [
      "throws",
      (): number => {
        throw new Error("secret");
      },
      "limit-function-threw",
    ],
    ["rejects", () => Promise.reject(new Error("secret")), "limit-function-rejected"],
    ["gives no whole number", () => 1.5, "limit-function-gave-no-limit"],
    ["gives a negative number", () => -1, "limit-function-gave-no-limit"],
    ["gives text", () => "5" as never, "limit-function-gave-no-limit"],
    ["resolves with nothing", () => Promise.resolve(undefined as never), "limit-function-gave-no-limit"],
    ["takes too long", () => new Promise<number>(() => undefined), "limit-function-late"],
  ] as [string, () => number | Promise<number>, string][])(
    "that %s counts as 100, in one event",
    async (_name, wrong, reason) => {
      const { send, events } = await start({ limit: wrong, storeTimeoutMs: 20 });
      for (let n = 0; n < 3; n += 1)
        expect((await send("free")).headers["ratelimit-policy"]).toBe('"default";q=100;w=60');
      expect(events.map((event) => [event.event, event.reason])).toEqual([["portcullis_misconfigured", reason]]);
      expect(JSON.stringify(events)).not.toContain("secret");
    },
  );

  it("stays synchronous when it returns a number", () => {
    const app = express();
    const limiter = rateLimiter({ limit: () => 5 });
    const req = { headers: {}, socket: { remoteAddress: "192.0.2.1" }, ip: "192.0.2.1", app } as never;
    const headers = new Map<string, unknown>();
    const res = {
      getHeaderNames: () => [...headers.keys()],
      getHeader: (name: string) => headers.get(name),
      setHeader: (name: string, value: unknown) => headers.set(name, value),
      writeHead: () => undefined,
    } as never;
    let passed = false;
    limiter(req, res, () => (passed = true));
    expect(passed).toBe(true);
    expect(headers.get("RateLimit-Policy")).toBe('"default";q=5;w=60');
  });

  it.each(STORES)("%s: perPrincipal and a route see req.principal", async (_name, more) => {
    const seen: unknown[] = [];
    const byPrincipal = (req: Request): number => {
      seen.push(req.principal?.id);
      return req.principal?.id === "ada" ? 2 : 1;
    };
    const { security, app, server } = await start(
      { limit: 1000, perPrincipal: { limit: byPrincipal } },
      { ...more(), secretKey: "Yw3v9hQ2pX7rT5mK8sD1fG6jL4zB0nCq", apiKeys: { hash: "hmac-sha256" } },
    );
    app.get(
      "/route",
      security.rateLimit({ name: "route", limit: byPrincipal, windowSeconds: 5 }),
      (_req, res) => void res.send("ok"),
    );
    const keyOf = async (ownerId: string) => (await security.apiKeys!.create({ ownerId, name: "k" })).key;
    const [ada, bob] = [await keyOf("ada"), await keyOf("bob")];
    const ask = async (key: string, path = "/") => (await server.send(path, { headers: { "x-api-key": key } })).status;
    expect([await ask(ada), await ask(ada), await ask(ada)]).toEqual([200, 200, 429]);
    expect([await ask(bob), await ask(bob)]).toEqual([200, 429]);
    expect(new Set(seen)).toEqual(new Set(["ada", "bob"]));
    await security.limits.reset("default-principal", "bob");
    expect([await ask(bob, "/route"), await ask(bob, "/route")]).toEqual([200, 429]);
  });

  it("on the main limit by address runs before authentication: it sees no principal", async () => {
    const seen: unknown[] = [];
    const app = express();
    app.use((req, _res, next) => {
      req.principal = createPrincipal({ id: "x", kind: "jwt", scopes: [], roles: [], credentialId: "c" });
      next();
    });
    const { security, server } = await start(
      {
        limit: (req) => {
          seen.push(req.principal);
          return 5;
        },
      },
      { secretKey: "Yw3v9hQ2pX7rT5mK8sD1fG6jL4zB0nCq", apiKeys: { hash: "hmac-sha256" } },
    );
    const { key } = await security.apiKeys!.create({ ownerId: "ada", name: "k" });
    expect((await server.send("/", { headers: { "x-api-key": key } })).status).toBe(200);
    expect(seen).toEqual([undefined]);
  });

  it("skip: exact paths or a function; what returns no boolean is limited, in one event", async () => {
    const app = express();
    const events = new SecurityEvents();
    const reasons: unknown[] = [];
    events.on("*", ({ reason }) => reasons.push(reason));
    app.use("/paths", rateLimiter({ limit: 1, name: "paths", skip: ["/paths/health"] }, { events }));
    app.use(
      "/function",
      rateLimiter({ limit: 1, name: "function", skip: (req) => req.headers["x-plan"] === "staff" }, { events }),
    );
    app.use("/promise", rateLimiter({ limit: 1, name: "promise", skip: (async () => true) as never }, { events }));
    app.use((_req, res) => void res.send("ok"));
    const server = await serve(app);
    servers.push(server);
    const ask = async (path: string, plan = "") => (await server.send(path, { headers: { "x-plan": plan } })).status;
    expect([
      await ask("/paths/health"),
      await ask("/paths/health?x=1"),
      await ask("/paths/a"),
      await ask("/paths/health/"),
    ]).toEqual([200, 200, 200, 429]);
    expect([
      await ask("/function", "staff"),
      await ask("/function", "staff"),
      await ask("/function"),
      await ask("/function"),
    ]).toEqual([200, 200, 200, 429]);
    expect([await ask("/promise"), await ask("/promise")]).toEqual([200, 429]);
    expect(reasons).toEqual(["paths", "function", "skip-function-gave-no-boolean", "promise"]);
  });

  it.each([
    [
      ["draft-8", "legacy"] as const,
      ["ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
    ],
    [
      ["legacy", "draft-6"] as const,
      [
        "ratelimit-limit",
        "ratelimit-policy",
        "ratelimit-remaining",
        "ratelimit-reset",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
      ],
    ],
    [
      ["draft-6", "draft-8"] as const,
      ["ratelimit", "ratelimit-limit", "ratelimit-policy", "ratelimit-remaining", "ratelimit-reset"],
    ],
  ])("headers %s are sent together", async (headers, names) => {
    const { send } = await start({ limit: 5, headers });
    const answer = await send("free");
    expect(
      Object.keys(answer.headers)
        .filter((name) => name.includes("ratelimit"))
        .sort(),
    ).toEqual(names);
    if (names.includes("ratelimit")) expect(answer.headers["ratelimit-policy"]).toBe('"default";q=5;w=60');
    if (names.includes("x-ratelimit-limit")) expect(answer.headers["x-ratelimit-remaining"]).toBe("4");
  });
});
