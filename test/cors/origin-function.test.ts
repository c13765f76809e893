import fc from "fast-check";
import type { Request, Response } from "express";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { applySecurity, corsPolicy } from "../../src/index.js";
import { parseOrigin } from "../../src/core/http/origin.js";
import { EXPRESS } from "../support/express-versions.js";
import { type Answer, serve } from "../support/serve.js";
import { type CorsServer, corsHeaders, corsServer } from "./cors-app.js";

const TENANT = "https://shop.tenant.example";
const OTHER = "https://evil.example.net";
const EXPOSED = { "access-control-expose-headers": "RateLimit,RateLimit-Policy,Retry-After" };
const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe.each(EXPRESS)("origins as a function over a socket, $name", ({ express }) => {
  let server: CorsServer;
  const asked: string[] = [];
  const tenants = new Set([TENANT, "http://shop.tenant.example", "http://localhost:5173", "tauri://localhost"]);
  const inTable = (origin: string): boolean => {
    asked.push(origin);
    return tenants.has(origin);
  };
  beforeAll(async () => {
    server = await corsServer(express, { origins: inTable });
  });
  afterAll(() => server.close());
  beforeEach(() => {
    asked.length = server.events.length = server.reached.length = 0;
  });
  const ask = (origin: string | undefined, more: Record<string, string> = {}, method = "GET"): Promise<Answer> =>
    server.send("/", { method, headers: { ...(origin === undefined ? {} : { origin }), ...more } });
  const preflight = (origin: string, more: Record<string, string> = {}): Promise<Answer> =>
    ask(origin, { "access-control-request-method": "PUT", ...more }, "OPTIONS");
  const seen = (): string[] => server.events.map(({ event, reason }) => `${event} ${reason}`);

  it.each<[string, (origin: string) => boolean | Promise<boolean>]>([
    ["at once", inTable],
    [
      "after a while",
      async (origin) => {
        await soon();
        return inTable(origin);
      },
    ],
  ])("allows what the function trusts and refuses the rest, with Vary on all: %s", async (_when, origins) => {
    server.use({ origins, credentials: true, allowedHeaders: "*" });
    expect(corsHeaders(await ask(TENANT))).toEqual({
      "access-control-allow-origin": TENANT,
      "access-control-allow-credentials": "true",
      vary: "Origin",
      ...EXPOSED,
    });
    expect(corsHeaders(await ask(OTHER))).toEqual({ vary: "Origin" });
    expect(corsHeaders(await ask(undefined))).toEqual({ vary: "Origin" });
    const allowed = await preflight(TENANT, { "access-control-request-headers": "authorization,x-any" });
    expect([allowed.status, corsHeaders(allowed)]).toEqual([
      204,
      {
        "access-control-allow-origin": TENANT,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET,HEAD,POST,PUT,PATCH,DELETE",
        "access-control-allow-headers": "authorization,x-any",
        "access-control-max-age": "600",
        vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
      },
    ]);
    const refused = await preflight(OTHER);
    expect([refused.status, corsHeaders(refused)]).toEqual([
      204,
      { vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers" },
    ]);
    expect(asked).toEqual([TENANT, OTHER, TENANT, OTHER]);
    expect(seen()).toEqual(["malicious_cors unlisted-origin", "malicious_cors unlisted-origin"]);
    expect(corsHeaders(await preflight(TENANT, { "access-control-request-method": "PROPFIND" }))).toEqual({
      vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    });
    expect(seen()[2]).toBe("input_validation_fail unlisted-method");
  });

  it("is not asked without Origin, about the service's own pages, and about what is not an origin", async () => {
    server.use({ origins: () => inTable("asked") || true });
    const refused = [
      "null",
      "https://a.example, https://b.example",
      "https://shop.tenant.example/",
      "https://shop.tenant.example:443",
      "https://SHOP.tenant.example",
      "https://shop.tenant.example.",
      "https://user@shop.tenant.example",
      ...(URL.canParse("https://xn--a.example") ? [] : ["https://xn--a.example"]),
      "https://1.2.3",
      `https://${"a.".repeat(200)}example`,
      "shop.tenant.example",
      "file://",
      "*",
      "",
    ];
    for (const origin of refused) expect(corsHeaders(await ask(origin)), origin).toEqual({ vary: "Origin" });
    expect(corsHeaders(await ask(undefined))).toEqual({ vary: "Origin" });
    expect(corsHeaders(await ask(server.origin))).toEqual({ vary: "Origin" });
    expect(corsHeaders(await ask(OTHER, { "sec-fetch-site": "same-origin" }))).toEqual({ vary: "Origin" });
    expect(asked).toEqual([]);
    expect((await ask(TENANT)).headers["access-control-allow-origin"]).toBe(TENANT);
    expect(asked).toEqual(["asked"]);
  });

  it("gets the origin in its only spelling, and echoes that of the request", async () => {
    server.use({ origins: inTable });
    const asSent = "tauri://LOCALHOST";
    expect((await ask(asSent)).headers["access-control-allow-origin"]).toBe(asSent);
    expect((await ask("http://localhost:5173")).headers["access-control-allow-origin"]).toBe("http://localhost:5173");
    expect(asked).toEqual(["tauri://localhost", "http://localhost:5173"]);
  });

  it.each([{ credentials: true }, { privateNetwork: true }])(
    "is not asked about plain http with %o, except on this machine",
    async (more) => {
      server.use({ origins: inTable, ...more });
      expect(corsHeaders(await ask("http://shop.tenant.example"))).toEqual({ vary: "Origin" });
      expect(asked).toEqual([]);
      for (const origin of [TENANT, "http://localhost:5173"])
        expect((await ask(origin)).headers["access-control-allow-origin"], origin).toBe(origin);
      server.use({ origins: inTable });
      expect((await ask("http://shop.tenant.example")).headers["access-control-allow-origin"]).toBeDefined();
    },
  );

  it("with refused: reject answers 403, and 503 without an answer", async () => {
    let isDown = false;
    server.use({
      origins: (origin) => (isDown ? Promise.reject(new Error("no table")) : inTable(origin)),
      refused: "reject",
    });
    const answer = async (origin: string): Promise<unknown[]> => {
      const { status, headers } = await ask(origin);
      return [status, headers["retry-after"], headers["access-control-allow-origin"]];
    };
    expect(await answer(OTHER)).toEqual([403, undefined, undefined]);
    expect(await answer(TENANT)).toEqual([200, undefined, TENANT]);
    isDown = true;
    for (let i = 0; i < 3; i += 1) expect(await answer(TENANT)).toEqual([503, "1", undefined]);
    expect((await preflight(TENANT)).status).toBe(503);
    expect(seen()).toEqual(["malicious_cors unlisted-origin", "portcullis_store_unavailable function-rejected"]);
  });

  it("without an answer serves the request without the headers, and no event calls the origin malicious", async () => {
    let isDown = true;
    server.use({
      origins: (origin) => {
        if (isDown) throw new Error("no table");
        return inTable(origin);
      },
    });
    const down = await ask(TENANT);
    expect([down.status, corsHeaders(down)]).toEqual([200, { vary: "Origin" }]);
    expect([(await preflight(TENANT)).status, server.reached]).toEqual([204, ["GET"]]);
    expect(seen()).toEqual(["portcullis_store_unavailable function-threw"]);
    isDown = false;
    expect((await ask(TENANT)).headers["access-control-allow-origin"]).toBe(TENANT);
  });

  it("in report mode lets everything pass", async () => {
    server.use({ origins: () => Promise.reject(new Error("no table")), mode: "report", refused: "reject" });
    expect((await ask(TENANT)).status).toBe(200);
    server.use({ origins: inTable, mode: "report", refused: "reject" });
    expect((await ask(OTHER)).status).toBe(200);
    expect(corsHeaders(await ask(TENANT))["access-control-allow-origin"]).toBe(TENANT);
    expect(seen()).toEqual(["portcullis_store_unavailable function-rejected", "malicious_cors unlisted-origin"]);
  });

  it("corsPolicy() with a function works without applySecurity", async () => {
    const app = express();
    app.use(corsPolicy({ origins: async (origin) => Promise.resolve(inTable(origin)) }));
    app.use((_req: Request, res: Response) => void res.send("app"));
    const own = await serve(app);
    const from = async (origin: string): Promise<unknown> =>
      (await own.send("/", { headers: { origin } })).headers["access-control-allow-origin"];
    expect([await from(TENANT), await from(OTHER)]).toEqual([TENANT, undefined]);
    await own.close();
  });

  it("leaves a request alone that a time-out has answered while it was asked", async () => {
    const app = express();
    const reached: string[] = [];
    app.use((_req: Request, res: Response, next) => {
      setTimeout(() => res.status(504).send("too late"), 20);
      next();
    });
    app.use(corsPolicy({ origins: (origin) => new Promise((resolve) => setTimeout(resolve, 60, inTable(origin))) }));
    app.use((req: Request, res: Response) => {
      reached.push(req.url);
      res.send("app");
    });
    const own = await serve(app);
    const answer = await own.send("/", { headers: { origin: TENANT } });
    await new Promise((resolve) => setTimeout(resolve, 80));
    expect([answer.status, answer.text, asked, reached]).toEqual([504, "too late", [TENANT], []]);
    await own.close();
  });

  it("with debug is asked about plain http too, and describe() says that it is a function", async () => {
    const app = express();
    const cors = { origins: inTable, credentials: true };
    const security = applySecurity(app, { trustedHosts: ["127.0.0.1"], cors, debug: true });
    app.use((_req: Request, res: Response) => void res.send("app"));
    const own = await serve(app);
    const from = async (origin: string): Promise<unknown> =>
      (await own.send("/", { headers: { origin } })).headers["access-control-allow-origin"];
    expect(await from("http://shop.tenant.example")).toBe("http://shop.tenant.example");
    expect(await from("http://evil.example.net")).toBeUndefined();
    const layer = security.describe().find(({ id }) => id === "cors");
    expect(layer?.settings).toMatchObject({ origins: "function", credentials: true });
    expect(JSON.parse(JSON.stringify(layer))).toEqual(layer);
    await own.close();
    await security.close();
  });

  it("gets nothing but origins that the strict parser has read and URL reads alike", async () => {
    let got: string | undefined;
    server.use({
      origins: (origin) => {
        got = origin;
        return true;
      },
    });
    const scheme = fc.constantFrom("https", "http", "HTTPS", "tauri", "app", "file", "data", "x y");
    const host = fc.oneof(
      fc.domain(),
      fc.ipV4(),
      fc.ipV6().map((address) => `[${address}]`),
      fc.constantFrom("127.1", "0x7f.1", "xn--a", "a_b.example", "EXAMPLE.com", "a..b", "-", ".", "[::1%eth0]"),
      fc.stringMatching(/^[\x21-\x7e]{1,12}$/),
    );
    const port = fc.constantFrom("", ":80", ":443", ":8443", ":0", ":65536", ":");
    const end = fc.constantFrom("", "", "", ".", "/", "?a", "#b", ", https://b.example", "\t", "%00");
    const seenCalls = { asked: 0, not: 0 };
    await fc.assert(
      fc.asyncProperty(scheme, host, port, end, async (a, b, c, d) => {
        got = undefined;
        const origin = `${a}://${b}${c}${d}`;
        const allowed = (await ask(origin)).headers["access-control-allow-origin"];
        expect(allowed === undefined).toBe(got === undefined);
        if (got === undefined) return void (seenCalls.not += 1);
        seenCalls.asked += 1;
        expect(parseOrigin(got)).toBeDefined();
        expect(got).toBe(origin.trim().toLowerCase());
        const url = new URL(got);
        if (/^https?:/.test(got)) expect(url.origin).toBe(got);
        expect([url.pathname.replace("/", ""), url.search, url.hash, url.username]).toEqual(["", "", "", ""]);
      }),
      { numRuns: 300 },
    );
    expect(Math.min(seenCalls.asked, seenCalls.not)).toBeGreaterThan(0);
  });
});
