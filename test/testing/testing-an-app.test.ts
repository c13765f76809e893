import { execFile } from "node:child_process";
import { createServer, type RequestListener } from "node:http";
import { promisify } from "node:util";
import type { Express } from "express";
import { afterEach, describe, expect, it, vi } from "vitest";
import { applySecurity, InvalidInputError, parseSettings, SetupError, type SecuritySettings } from "portcullis";
import {
  accessTokenFor,
  actingAs,
  apiKeyFor,
  collectEvents,
  expectSecureHeaders,
  ManualClock,
  resetLimits,
  testSecret,
} from "../../src/testing/index.js";
import { EXPRESS } from "../support/express-versions.js";
import { sharedRedis } from "../support/servers.js";
import { serve } from "../support/serve.js";

describe("testSecret", () => {
  it("gives another secret on each call, and the settings accept it", () => {
    const secrets = new Set(Array.from({ length: 200 }, testSecret));
    expect(secrets.size).toBe(200);
    for (const secretKey of secrets)
      expect(() =>
        parseSettings({ trustedHosts: ["a.example"], secretKey, session: { secret: testSecret() } }),
      ).not.toThrow();
  });
});

describe.each(EXPRESS)("a test of an app, on $name", ({ express }) => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    vi.unstubAllEnvs();
    for (const one of open.splice(0)) await one.close();
  });

  function secured(settings: SecuritySettings = {}, clock?: ManualClock) {
    const app = express() as Express;
    const security = applySecurity(
      app,
      { debug: true, secretKey: testSecret(), session: {}, apiKeys: {}, jwt: {}, ...settings },
      clock === undefined ? {} : { clock },
    );
    open.push(security);
    app.get("/", (_req, res) => void res.send("hello"));
    app.get("/me", security.requireAuth(), (req, res) => void res.json(req.principal));
    app.get(
      "/admin",
      security.requireSession({ roles: ["admin"], scopes: ["a:b"] }),
      (_req, res) => void res.send("admin"),
    );
    app.get("/key", security.requireApiKey(), (_req, res) => void res.send("key"));
    return { app, security: security as typeof security & Required<Pick<typeof security, "apiKeys" | "jwt">> };
  }
  async function started(listener: RequestListener) {
    const server = await serve(createServer(listener));
    open.push(server);
    return {
      ...server,
      send: (path: string, headers: Record<string, string> = {}) =>
        server.send(path, { headers: { host: "localhost", ...headers } }),
    };
  }

  describe("actingAs", () => {
    it("gives each request the principal, whatever guard asks", async () => {
      const { app } = secured();
      const server = await started(actingAs(app, { id: 7, roles: ["admin"], scopes: ["a:*"], actor: { id: "eve" } }));
      const me = await server.send("/me");
      expect(me.json()).toEqual({
        id: "7",
        kind: "session",
        scopes: ["a:*"],
        roles: ["admin"],
        credentialId: "test",
        actor: { id: "eve" },
        claims: {},
        authenticatedAt: expect.any(Number),
        methods: [],
      });
      expect(me.headers["cache-control"]).toBe("private");
      expect((await server.send("/admin")).text).toBe("admin");
      expect((await server.send("/key")).status).toBe(401);
      const withKey = await started(actingAs(app, { id: "ada", kind: "api-key" }));
      expect((await withKey.send("/key")).text).toBe("key");
      expect((await withKey.send("/admin")).status).toBe(401);
    });

    it("pretends claims, methods and a time", async () => {
      const { app } = secured();
      const claims = { plan: "paid" };
      const earlier = { method: "totp", at: 5000 } as const;
      const whoIs = async (who: object) => (await started(actingAs(app, { id: "ada", ...who }))).send("/me");
      expect((await whoIs({ claims, methods: [earlier] })).json()).toMatchObject({
        claims,
        methods: [earlier],
        authenticatedAt: 5000,
      });
      expect((await whoIs({ methods: [earlier], authenticatedAt: 7000 })).json()).toMatchObject({
        authenticatedAt: 7000,
      });
      expect(() => actingAs(app, { id: "ada", methods: ["sms" as never] })).toThrow(/methods must be a list/);
    });

    it("changes no other server of the app", async () => {
      const { app } = secured();
      await (await started(actingAs(app, { id: "ada" }))).send("/me");
      expect((await (await started(app)).send("/me")).status).toBe(401);
    });

    it("refuses a request that has another credential too", async () => {
      const { app, security } = secured();
      const server = await started(actingAs(app, { id: "ada" }));
      const key = await apiKeyFor(security, { id: "bob" });
      const answer = await server.send("/me", { "x-api-key": key });
      expect([answer.status, answer.json()]).toEqual([400, expect.objectContaining({ code: "ambiguous-credentials" })]);
    });

    it.each<[string, object]>([
      ["an empty id", { id: "" }],
      ["an id with a line break", { id: "a\nb" }],
      ["a scope that is none", { id: "a", scopes: ["a b"] }],
      ["a role that is none", { id: "a", roles: [""] }],
    ])("refuses %s", (_name, who) => {
      const { app } = secured();
      expect(() => actingAs(app, who as { id: string })).toThrow(InvalidInputError);
    });

    it("does not run in production", () => {
      const { app } = secured();
      vi.stubEnv("NODE_ENV", "production");
      expect(() => actingAs(app, { id: "ada" })).toThrow(SetupError);
      vi.stubEnv("NODE_ENV", "test");
      expect(() => actingAs(app, { id: "ada" })).not.toThrow();
    });
  });

  it("apiKeyFor and accessTokenFor make real credentials", async () => {
    const { app, security } = secured();
    const server = await started(app);
    const user = { id: "ada", scopes: ["orders:read"], roles: ["member"] };
    const key = await server.send("/me", { "x-api-key": await apiKeyFor(security, user) });
    expect(key.json()).toMatchObject({ ...user, kind: "api-key" });
    const token = await server.send("/me", { authorization: `Bearer ${await accessTokenFor(security, user)}` });
    expect(token.json()).toMatchObject({ ...user, kind: "jwt" });
    await expect(apiKeyFor(security, { id: "" })).rejects.toThrow();
    await expect(accessTokenFor(security, { id: "" })).rejects.toThrow();
  });

  it("the clock ends a session when told to", async () => {
    const clock = new ManualClock();
    const { app, security } = secured({ session: { maxAge: 60 } }, clock);
    app.get(
      "/in",
      security.handler(async (req, res) => {
        await security.logIn(req, { id: "ada" });
        res.sendStatus(204);
      }),
    );
    const server = await started(app);
    const cookie = (await server.send("/in")).headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
    expect((await server.send("/me", { cookie })).status).toBe(200);
    clock.advance(60_000);
    expect((await server.send("/me", { cookie })).status).toBe(401);
  });

  describe("resetLimits", () => {
    it("starts the main limit, those of routes and those of failed keys afresh", async () => {
      const { app, security } = secured({ rateLimit: { limit: 3 }, apiKeys: { failures: { limit: 1 } } });
      app.get("/narrow", security.rateLimit({ name: "narrow", limit: 1 }), (_req, res) => void res.send("narrow"));
      const events = collectEvents(security.events);
      const server = await started(app);
      const wrong = { "x-api-key": "mcp_wrong" };
      const statuses = async (): Promise<number[]> => [
        (await server.send("/narrow")).status,
        (await server.send("/narrow")).status,
        (await server.send("/me", wrong)).status,
        (await server.send("/")).status,
      ];
      const first = await statuses();
      expect(first).toEqual([200, 429, 401, 429]);
      resetLimits(security);
      expect(await statuses()).toEqual(first);
      expect(events.named("excess_rate_limit_exceeded")).toHaveLength(4);
    });

    it("says what it needs", async () => {
      expect(() => resetLimits({})).toThrow(SetupError);
      const { url } = await sharedRedis();
      const { security } = secured({ redis: url });
      expect(() => resetLimits(security)).toThrow(/redisPrefix/);
    });
  });

  describe("expectSecureHeaders", () => {
    it("accepts the answers of an app, of any client, and refusals too", async () => {
      const { app } = secured();
      const server = await started(app);
      for (const path of ["/", "/me", "/nowhere"]) {
        const answer = await server.send(path);
        expectSecureHeaders(answer);
        expectSecureHeaders(await fetch(`http://localhost:${server.port}${path}`));
      }
    });

    it("lists everything that is missing or wrong, but what the test excepts", async () => {
      const plain = express() as Express;
      plain.get("/", (_req, res) => void res.set("Referrer-Policy", "unsafe-url").send("bare"));
      const server = await started(plain);
      const answer = await server.send("/");
      expect(() => expectSecureHeaders(answer)).toThrow(
        /content-security-policy is missing; x-content-type-options is missing; referrer-policy is "unsafe-url"; .*neither x-frame-options nor frame-ancestors is there; x-powered-by is there/,
      );
      const { app } = secured({ headers: { permissionsPolicy: false } });
      const without = await (await started(app)).send("/");
      expect(() => expectSecureHeaders(without)).toThrow(/lacks security headers: permissions-policy is missing\.$/);
      expect(() => expectSecureHeaders(without, ["Permissions-Policy"])).not.toThrow();
    });
  });
});

it("a test that closes nothing but its server ends by itself", { timeout: 60_000 }, async () => {
  const program = `
    import express from "express";
    import { once } from "node:events";
    import { applySecurity } from "./src/index.ts";
    import { actingAs, accessTokenFor, apiKeyFor, collectEvents, expectSecureHeaders, resetLimits, testSecret } from "./src/testing/index.ts";
    import { createServer } from "node:http";
    const app = express();
    const security = applySecurity(app, { debug: true, secretKey: testSecret(), session: {}, apiKeys: {}, jwt: {} });
    app.get("/me", security.requireAuth(), (req, res) => void res.json(req.principal));
    const events = collectEvents(security.events);
    const server = createServer(actingAs(app, { id: "ada" })).listen(0);
    await once(server, "listening");
    const answer = await fetch("http://localhost:" + server.address().port + "/me");
    expectSecureHeaders(answer);
    console.log((await answer.json()).id, events.all.length);
    await apiKeyFor(security, { id: "ada" });
    await accessTokenFor(security, { id: "ada" });
    resetLimits(security);
    server.close();
    server.closeAllConnections();
  `;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--import", "tsx", "--input-type=module", "-e", program],
    { cwd: new URL("../..", import.meta.url), timeout: 50_000 },
  );
  expect(stdout).toBe("ada 0\n");
});
