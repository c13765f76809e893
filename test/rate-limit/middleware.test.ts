import { afterEach, describe, expect, it, vi } from "vitest";
import { createPrincipalRateLimit, createRateLimit, rateLimiter } from "../../src/rate-limit/middleware.js";
import { createRouteLimit } from "../../src/rate-limit/route-limit.js";
import { rateLimitSchema, type RateLimitSettings } from "../../src/rate-limit/settings.js";
import { createRuntime } from "../../src/core/runtime.js";
import { SettingsError } from "../../src/settings/errors.js";
import { parse } from "../../src/settings/object.js";
import { SlidingWindowStore } from "../../src/stores/memory/sliding-window/store.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type TestServer } from "../support/serve.js";
import { bench as startBench, statuses } from "./support.js";

describe.each(EXPRESS)("the limiter on $name", ({ express }) => {
  const servers: TestServer[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
  });

  /** The process warnings from here on, with their codes. */
  function watchWarnings(): () => unknown[][] {
    const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    return () => {
      const calls = warned.mock.calls.map(([message, options]) => [
        (options as unknown as { code: string }).code,
        message,
      ]);
      warned.mockRestore();
      return calls;
    };
  }

  async function bench(
    ...[settings, parts]: Parameters<typeof startBench> extends [unknown, ...infer Rest] ? Rest : never
  ) {
    const made = await startBench(express, settings, parts);
    servers.push(made.server);
    return made;
  }

  async function standalone(...handlers: ReturnType<typeof rateLimiter>[]) {
    const app = express();
    for (const handler of handlers) app.use(handler);
    app.get("/", (_req, res) => void res.send("ok"));
    const server = await serve(app);
    servers.push(server);
    return server;
  }

  it("refuses with 429, problem+json, an exact Retry-After and both RateLimit headers, and accepts again after that time", async () => {
    const { server, clock, events } = await bench({ limit: 2 });
    const first = await server.send("/");
    expect(first.headers).toMatchObject({ ratelimit: '"default";r=1;t=60', "ratelimit-policy": '"default";q=2;w=60' });
    expect(first.headers["retry-after"]).toBeUndefined();
    clock.advance(10_500);
    expect((await server.send("/")).headers.ratelimit).toBe('"default";r=0;t=50');
    clock.advance(1);
    const refused = await server.send("/?secret=1");
    expect(refused.status).toBe(429);
    expect(refused.headers).toMatchObject({
      "content-type": "application/problem+json; charset=utf-8",
      "cache-control": "no-store",
      "retry-after": "50",
      ratelimit: '"default";r=0;t=50',
      "ratelimit-policy": '"default";q=2;w=60',
    });
    expect(refused.json()).toMatchObject({ code: "rate-limited", status: 429 });
    expect(events).toEqual([
      expect.objectContaining({
        event: "excess_rate_limit_exceeded",
        source: "rate-limit",
        reason: "default",
        code: "rate-limited",
        sourceIp: "127.0.0.1",
        path: "/",
        mode: "enforce",
      }),
    ]);
    clock.advance(49_498);
    expect((await server.send("/")).status).toBe(429);
    clock.advance(1);
    expect((await server.send("/")).status).toBe(200);
  });

  it.each<[string, RateLimitSettings | undefined]>([
    ["nothing", undefined],
    ["{}", {}],
    ["frozen", Object.freeze({})],
    ["no prototype", Object.create(null) as RateLimitSettings],
    ["undefined values", { limit: undefined }],
  ])("as a factory given %s allows 100 requests a minute", async (_name, settings) => {
    const server = await standalone(rateLimiter(settings));
    expect((await server.send("/")).headers).toMatchObject({
      "ratelimit-policy": '"default";q=100;w=60',
      ratelimit: '"default";r=99;t=60',
    });
  });

  it("as a factory counts each instance by itself, and throws at start for invalid settings", async () => {
    const one = await standalone(rateLimiter({ limit: 1 }));
    const other = await standalone(rateLimiter({ limit: 1 }));
    expect(await statuses(one, 2)).toEqual([200, 429]);
    expect(await statuses(other, 2)).toEqual([200, 429]);
    expect(() => rateLimiter({ limit: -1 })).toThrow(SettingsError);
    expect(rateLimiter({ limit: 1 }).name).toBe("rateLimitMiddleware");
  });

  it("with two on one request: draft-8 lists both", async () => {
    const server = await standalone(
      rateLimiter({ limit: 5, name: "burst", windowSeconds: 1 }),
      rateLimiter({ limit: 50, name: "hour", windowSeconds: 3600 }),
    );
    expect((await server.send("/")).headers).toMatchObject({
      ratelimit: '"burst";r=4;t=1, "hour";r=49;t=3600',
      "ratelimit-policy": '"burst";q=5;w=1, "hour";q=50;w=3600',
    });
  });

  it.each([
    [[2, 50], "1"],
    [[50, 2], "1"],
    [[1, 2], "0"],
  ])("with two on one request of limits %j: draft-6 keeps the strictest", async ([first, second], remaining) => {
    const server = await standalone(
      rateLimiter({ limit: first, headers: "draft-6" }),
      rateLimiter({ limit: second, headers: "draft-6" }),
    );
    const { headers } = await server.send("/");
    expect(headers).toMatchObject({
      "ratelimit-remaining": remaining,
      "ratelimit-reset": "60",
      "ratelimit-policy": `${Math.min(first ?? 0, second ?? 0)};w=60`,
    });
    expect(headers.ratelimit).toBeUndefined();
  });

  it("with two on one request: the refusing one's legacy values stand", async () => {
    const wide = rateLimiter({ limit: 50, headers: "legacy" });
    const narrow = rateLimiter({ limit: 2, cost: 2, headers: "legacy" });
    const server = await standalone(wide, narrow);
    expect((await server.send("/")).headers["x-ratelimit-remaining"]).toBe("0");
    const refused = await server.send("/");
    expect(refused.status).toBe(429);
    expect(refused.headers).toMatchObject({ "x-ratelimit-limit": "2", "x-ratelimit-remaining": "0" });
    expect(Math.abs(Number(refused.headers["x-ratelimit-reset"]) - Date.now() / 1000 - 60)).toBeLessThan(3);
  });

  it("headers: false sends none but Retry-After on a refusal", async () => {
    const { server } = await bench({ limit: 1, headers: false });
    const accepted = await server.send("/");
    const refused = await server.send("/");
    for (const { rawHeaders } of [accepted, refused])
      expect(rawHeaders.join("\n").toLowerCase()).not.toContain("ratelimit");
    expect(refused.headers["retry-after"]).toBe("60");
  });

  it("mode report lets every request pass without rate limit headers, and announces those over the limit", async () => {
    const { server, events, reached } = await bench({ limit: 1, mode: "report" });
    const answers = [await server.send("/"), await server.send("/")];
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(reached()).toBe(2);
    for (const { rawHeaders } of answers) expect(rawHeaders.join("\n")).not.toMatch(/ratelimit|retry-after/i);
    expect(events).toEqual([expect.objectContaining({ event: "excess_rate_limit_exceeded", mode: "report" })]);
  });

  it("does not limit addresses on the allow list", async () => {
    expect(await statuses((await bench({ limit: 1, allow: ["127.0.0.0/8"] })).server, 3)).toEqual([200, 200, 200]);
    expect(await statuses((await bench({ limit: 1, allow: ["127.0.0.2"] })).server, 3)).toEqual([200, 429, 429]);
  });

  it("counts by the address a trusted proxy gives, whatever way it is written, and IPv6 by subnet", async () => {
    const { server, events } = await bench({ limit: 1 }, { prepare: (app) => app.set("trust proxy", 1) });
    const from = async (address: string) =>
      (await server.send("/", { headers: { "x-forwarded-for": address } })).status;
    expect([
      await from("192.0.2.1"),
      await from("192.0.2.1:4711"),
      await from("::ffff:192.0.2.1"),
      await from("::ffff:c000:201"),
    ]).toEqual([200, 429, 429, 429]);
    expect([await from("2001:db8:0:100::1"), await from("2001:db8:0:1ff::2"), await from("2001:db8:0:200::1")]).toEqual(
      [200, 429, 200],
    );
    expect(events.filter(({ event }) => event === "portcullis_untrusted_proxy")).toEqual([]);
  });

  it.each([
    [{ ipv6Subnet: 64 }, [200, 200, 429]],
    [{ ipv6Subnet: 32 }, [200, 429, 429]],
  ])("uses the subnet of the settings: %j", async (settings, expected) => {
    const { server } = await bench({ limit: 1, ...settings }, { prepare: (app) => app.set("trust proxy", 1) });
    const seen = [];
    for (const address of ["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:2::2"])
      seen.push((await server.send("/", { headers: { "x-forwarded-for": address } })).status);
    expect(seen).toEqual(expected);
  });

  it("accepts the address of a trusted proxy that names itself", async () => {
    const { server, events } = await bench({ limit: 5 }, { prepare: (app) => app.set("trust proxy", 1) });
    expect((await server.send("/", { headers: { "x-forwarded-for": "127.0.0.1" } })).status).toBe(200);
    expect(events).toEqual([]);
  });

  it("warns once that X-Forwarded-For comes from a proxy that is not trusted", async () => {
    const warnings = watchWarnings();
    const { server, events } = await bench({ limit: 5 });
    for (let i = 0; i < 3; i += 1) await server.send("/", { headers: { "x-forwarded-for": `192.0.2.${i}` } });
    expect(warnings()).toEqual([
      [
        "PORTCULLIS_TRUST_PROXY",
        expect.stringContaining("set trustProxy to the number of proxies in front of the app"),
      ],
    ]);
    expect(events).toEqual([
      expect.objectContaining({
        event: "portcullis_untrusted_proxy",
        source: "rate-limit",
        reason: "x-forwarded-for-not-trusted",
        sourceIp: "127.0.0.1",
      }),
    ]);
    const twin = await bench({ limit: 5, key: () => "k" });
    await twin.server.send("/", { headers: { "x-forwarded-for": "192.0.2.1" } });
    expect(twin.events).toEqual([]);
  });

  it("counts a client under its own address, whatever X-Forwarded-For and Forwarded it sends past no trusted proxy", async () => {
    const { server, events } = await bench({ limit: 5 });
    const spoofed = [
      "192.0.2.1",
      "192.0.2.1, 198.51.100.7",
      "127.0.0.1",
      "::1",
      "[2001:db8::1]:443",
      "",
      ",,",
      "x".repeat(4000),
      "192.0.2.9, ".repeat(300),
    ];
    const answers: number[] = [];
    for (let i = 0; i < 30; i += 1) {
      const address = spoofed[i % spoofed.length] ?? "";
      answers.push(
        (
          await server.send("/", {
            headers: { "x-forwarded-for": address, forwarded: `for=192.0.2.${i}`, "x-real-ip": `192.0.2.${i}` },
          })
        ).status,
      );
    }
    expect(answers).toEqual([...Array<number>(5).fill(200), ...Array<number>(25).fill(429)]);
    expect(new Set(events.map(({ sourceIp }) => sourceIp))).toEqual(new Set(["127.0.0.1"]));
  });

  it("asks a function for the cost of a request, and uses 1 when it is broken", async () => {
    const costs: Record<string, unknown> = {
      "/free": 0,
      "/dear": 3,
      "/half": 0.5,
      "/minus": -5,
      "/nan": NaN,
      "/text": "1",
    };
    const cost = (req: { path: string }) => {
      if (req.path === "/throws") throw new Error("no");
      return (costs[req.path] ?? 1) as number;
    };
    const { server, events } = await bench({ limit: 4, cost });
    expect(await statuses(server, 10, {}, "/free")).toEqual(Array(10).fill(200));
    expect(await statuses(server, 2, {}, "/dear")).toEqual([200, 429]);
    expect(await statuses(server, 2)).toEqual([200, 429]);
    for (const path of ["/half", "/minus", "/nan", "/text", "/throws"])
      expect(await statuses(server, 2, {}, path)).toEqual([429, 429]);
    expect(events.filter(({ event }) => event === "portcullis_misconfigured").map(({ reason }) => reason)).toEqual([
      "cost-function-gave-no-cost",
      "cost-function-threw",
    ]);
  });

  it("warns once of each way in which key and cost fail, with the error", async () => {
    const warnings = watchWarnings();
    const fail = (name: string) => () => {
      throw new Error(`${name} is not defined`);
    };
    const { server } = await bench({ limit: 5, key: fail("tenantOf"), cost: fail("sizeOf") });
    await statuses(server, 3);
    const twin = await bench({ limit: 5, key: () => "k", cost: () => 1 });
    await statuses(twin.server, 1);
    expect(warnings()).toEqual([
      [
        "PORTCULLIS_RATE_LIMIT",
        "The key function of a rate limit threw, so the request was counted by its address: tenantOf is not defined",
      ],
      [
        "PORTCULLIS_RATE_LIMIT",
        "The cost function of a rate limit threw, so the request cost 1: sizeOf is not defined",
      ],
    ]);
  });

  it("counts by a key that the app makes, and by address when its function is broken", async () => {
    const key = (req: { headers: Record<string, unknown> }): string => {
      const tenant = req.headers["x-tenant"];
      if (tenant === "throw") throw new Error("no");
      return (
        tenant === "none" ? undefined : tenant === "long" ? "x".repeat(257) : tenant === "empty" ? "" : tenant
      ) as string;
    };
    const { server, events } = await bench({ limit: 2, key });
    expect(await statuses(server, 3, { "x-tenant": "a" })).toEqual([200, 200, 429]);
    expect(await statuses(server, 1, { "x-tenant": "b" })).toEqual([200]);
    const broken = [];
    for (const tenant of ["throw", "none", "long", "empty"])
      broken.push(...(await statuses(server, 1, { "x-tenant": tenant })));
    expect(broken).toEqual([200, 200, 429, 429]);
    expect(events.filter(({ event }) => event === "portcullis_misconfigured").map(({ reason }) => reason)).toEqual([
      "key-function-threw",
      "key-function-gave-no-key",
    ]);
  });

  it("reports asynchronous functions as misconfigured, and survives their rejections", async () => {
    const rejecting = (): unknown => Promise.reject(new Error("bug"));
    const { server, events } = await bench({
      limit: 2,
      key: rejecting as () => string,
      cost: rejecting as () => number,
    });
    expect(await statuses(server, 3)).toEqual([200, 200, 429]);
    expect(events.filter(({ event }) => event === "portcullis_misconfigured").map(({ reason }) => reason)).toEqual([
      "key-function-gave-no-key",
      "cost-function-gave-no-cost",
    ]);
  });

  it('with key "principal" runs after authentication and counts principals by id, anonymous callers by address', async () => {
    const { server, events } = await bench({ limit: 2, key: "principal" });
    expect(await statuses(server, 3, { "x-test-principal": "ann" })).toEqual([200, 200, 429]);
    expect(await statuses(server, 3, { "x-test-principal": "bob" })).toEqual([200, 200, 429]);
    expect(await statuses(server, 3)).toEqual([200, 200, 429]);
    expect(events[0]).toMatchObject({ source: "principal-rate-limit", subject: "ann" });
  });

  it("has perPrincipal as a second limit, which lets anonymous callers pass", async () => {
    const { server } = await bench({ limit: 6, perPrincipal: { limit: 1, windowSeconds: 10 } });
    const { headers } = await server.send("/", { headers: { "x-test-principal": "ann" } });
    expect(headers).toMatchObject({
      ratelimit: '"default";r=5;t=60, "default-principal";r=0;t=10',
      "ratelimit-policy": '"default";q=6;w=60, "default-principal";q=1;w=10',
    });
    const refused = await server.send("/", { headers: { "x-test-principal": "ann" } });
    expect([refused.status, refused.headers["retry-after"]]).toEqual([429, "10"]);
    expect(await statuses(server, 1, { "x-test-principal": "bob" })).toEqual([200]);
    expect(await statuses(server, 4)).toEqual([200, 200, 200, 429]);
  });

  it("limits one route beside the whole app, on the same store", async () => {
    const store = new SlidingWindowStore();
    const { server } = await bench(
      { limit: 10 },
      {
        store,
        routes: (app, runtime, limits) => {
          app.get(
            "/login",
            createRouteLimit({ name: "login", limit: 2, windowSeconds: 900 }, runtime, {
              store: limits,
              defaults: parse(rateLimitSchema, {}),
            }),
          );
          app.get("/default", createRouteLimit({ name: "default", limit: 1 }, runtime, { store: limits }));
        },
      },
    );
    expect(await statuses(server, 3, {}, "/login")).toEqual([200, 200, 429]);
    expect(await statuses(server, 1, { "x-test-principal": "ann" }, "/login")).toEqual([200]);
    expect((await server.send("/login", { headers: { "x-test-principal": "ann" } })).headers.ratelimit).toMatch(
      /^"default";r=5;t=60, "login";r=0;t=900$/,
    );
    // A route called like the main limit has a count of its own.
    expect(await statuses(server, 2, {}, "/default")).toEqual([200, 429]);
    expect(() => createRouteLimit({ name: "x", limit: 1, windowSecs: 5 } as never, createRuntime(), { store })).toThrow(
      /Did you mean "windowSeconds"/,
    );
    store.close();
  });

  it("refuses two windows for one name, because one count cannot have both", () => {
    const deps = { store: new SlidingWindowStore() };
    const runtime = createRuntime();
    createRouteLimit({ name: "search", limit: 5, windowSeconds: 60 }, runtime, deps);
    expect(() => createRouteLimit({ name: "search", limit: 9, windowSeconds: 60 }, runtime, deps)).not.toThrow();
    expect(() => createRouteLimit({ name: "search", limit: 100, windowSeconds: 1 }, runtime, deps)).toThrow(
      /windowSeconds: .* window of 60 s.*\[contradiction\]/,
    );
    expect(() =>
      createRouteLimit({ name: "search", limit: 100, windowSeconds: 1 }, runtime, { store: new SlidingWindowStore() }),
    ).not.toThrow();
  });

  it("describes itself in JSON, and is mounted only where it has something to limit", async () => {
    const deps = { store: new SlidingWindowStore() };
    const runtime = createRuntime();
    const made = (settings: RateLimitSettings) => {
      const options = parse(rateLimitSchema, settings);
      return [createRateLimit(options, runtime, deps)?.id, createPrincipalRateLimit(options, runtime, deps)?.id];
    };
    expect(made({})).toEqual(["rate-limit", undefined]);
    expect(made({ key: "principal" })).toEqual([undefined, "principal-rate-limit"]);
    expect(made({ perPrincipal: { limit: 5 } })).toEqual(["rate-limit", "principal-rate-limit"]);
    const layer = createRateLimit(
      parse(rateLimitSchema, { key: () => "k", cost: () => 1, store: new SlidingWindowStore() }),
      runtime,
      deps,
    );
    const described = layer?.describe();
    expect(described).toMatchObject({ key: "function", cost: "function", store: "SlidingWindowStore", limit: 100 });
    expect(JSON.parse(JSON.stringify(described))).toEqual(described);
    await layer?.close?.();
  });
});
