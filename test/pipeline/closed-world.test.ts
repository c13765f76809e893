import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { applySecurity, type Security } from "portcullis";
import { DEFAULT_SECURE, FINAL_CSP, without } from "../headers/expected.js";
import { EXPRESS } from "../support/express-versions.js";
import { expectSecurityHeaders } from "../support/security-headers.js";
import { serve, type Answer, type TestServer } from "../support/serve.js";

const APP = "https://app.example.com";
const SETTINGS = {
  secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
  trustedHosts: ["api.example.com"],
  trustProxy: ["127.0.0.1"],
  cors: { origins: [APP], refused: "reject" as const },
  rateLimit: { limit: 1000 },
  session: {},
  apiKeys: { hash: "hmac-sha256" as const },
  jwt: {},
};
const COMMON = { Host: "api.example.com", "X-Forwarded-Proto": "https" };
/** What CORS adds for an origin on the list. */
const READABLE = {
  "Access-Control-Allow-Origin": APP,
  "Access-Control-Expose-Headers": "RateLimit,RateLimit-Policy,Retry-After",
};

/** Through the whole pipeline: every security header that comes is expected, with its value, and no other one comes. */
describe.each(EXPRESS)("the exact security headers of every kind of response on $name", ({ express }) => {
  let server: TestServer;
  let security: Security<typeof SETTINGS>;
  let key: string;

  beforeAll(async () => {
    const app = express();
    security = applySecurity(app, SETTINGS);
    app.get("/ok", (_req, res) => void res.send("hello"));
    app.get("/moved", (_req, res) => void res.redirect("/ok"));
    app.post("/login", (req, res, next) => void security.logIn(req, { id: "ada" }).then(() => res.json({}), next));
    app.post("/logout", (req, res, next) => void security.logOut(req, res).then(() => res.status(204).end(), next));
    app.get("/keys-only", security.requireApiKey({ scopes: ["read"] }), (_req, res) => void res.send("in"));
    app.get(
      "/once",
      security.rateLimit({ name: "once", limit: 1, windowSeconds: 60 }),
      (_req, res) => void res.send("once"),
    );
    app.get("/throws", () => {
      throw Object.assign(new Error("boom"), { status: 500 });
    });
    app.use("/api-keys", security.apiKeyRoutes());
    app.use("/tokens", security.tokenRoutes());
    await security.ready();
    ({ key } = await security.apiKeys.create({ ownerId: "ada", name: "k", scopes: [] }));
    server = await serve(app);
  });
  afterAll(async () => {
    await server.close();
    await security.close();
  });

  const ask = (
    path: string,
    headers: Record<string, string | string[]> = {},
    method = "GET",
    body?: string,
  ): Promise<Answer> =>
    server.send(path, { method, headers: { ...COMMON, ...headers }, ...(body === undefined ? {} : { body }) });
  const code = (answer: Answer): unknown => (answer.json() as { code: unknown }).code;

  it.each([
    ["200", "/ok", {}, 200],
    ["a redirect", "/moved", {}, 302],
    ["missing-credentials", "/keys-only", {}, 401, "missing-credentials"],
    ["invalid-credentials, key", "/ok", { "X-API-Key": "mcp_nonsense" }, 401, "invalid-credentials"],
    ["invalid-credentials, token", "/ok", { Authorization: "Bearer a.b.c" }, 401, "invalid-credentials"],
    [
      "ambiguous-credentials",
      "/ok",
      { "X-API-Key": "mcp_nonsense", Authorization: "Bearer a.b.c" },
      400,
      "ambiguous-credentials",
    ],
    ["untrusted-host", "/ok", { Host: "evil.example" }, 400, "untrusted-host"],
    ["cross-origin-refused by CORS", "/ok", { Origin: "https://evil.example" }, 403, "cross-origin-refused"],
    ["the key set", "/tokens/jwks.json", {}, 200],
    ["key routes, nobody calling", "/api-keys", {}, 401, "missing-credentials"],
  ] as [string, string, Record<string, string>, number, string?][])(
    "%s",
    async (_name, path, headers, status, refusal) => {
      const answer = await ask(path, headers);
      expect(answer.status).toBe(status);
      if (refusal !== undefined) expect(code(answer)).toBe(refusal);
      expectSecurityHeaders(answer, DEFAULT_SECURE);
    },
  );

  it("insufficient-scope", async () => {
    const answer = await ask("/keys-only", { "X-API-Key": key });
    expect(code(answer)).toBe("insufficient-scope");
    expectSecurityHeaders(answer, DEFAULT_SECURE);
  });

  it("rate-limited, readable for an origin on the list", async () => {
    expectSecurityHeaders(await ask("/once"), DEFAULT_SECURE);
    const answer = await ask("/once", { Origin: APP });
    expect(code(answer)).toBe("rate-limited");
    expectSecurityHeaders(answer, { ...DEFAULT_SECURE, ...READABLE });
  });

  it("cross-origin-refused by csrf", async () => {
    const answer = await ask("/login", { "Sec-Fetch-Site": "cross-site" }, "POST");
    expect(code(answer)).toBe("cross-origin-refused");
    expectSecurityHeaders(answer, DEFAULT_SECURE);
  });

  it("a preflight", async () => {
    const answer = await ask("/ok", { Origin: APP, "Access-Control-Request-Method": "PUT" }, "OPTIONS");
    expect(answer.status).toBe(204);
    expectSecurityHeaders(answer, {
      ...DEFAULT_SECURE,
      "Access-Control-Allow-Origin": APP,
      "Access-Control-Allow-Methods": "GET,HEAD,POST,PUT,PATCH,DELETE",
      "Access-Control-Allow-Headers": "Authorization,Content-Type,X-API-Key",
      "Access-Control-Max-Age": "600",
    });
  });

  it("304, and HEAD", async () => {
    const etag = String((await ask("/ok")).headers.etag);
    const unchanged = await ask("/ok", { "If-None-Match": etag });
    expect(unchanged.status).toBe(304);
    expectSecurityHeaders(unchanged, DEFAULT_SECURE);
    expectSecurityHeaders(await ask("/ok", {}, "HEAD"), DEFAULT_SECURE);
  });

  it.each([
    ["404", "/nowhere", 404],
    ["500", "/throws", 500],
  ])("Express's own page: %s", async (_name, path, status) => {
    const answer = await ask(path);
    expect(answer.status).toBe(status);
    expectSecurityHeaders(answer, { ...DEFAULT_SECURE, "Content-Security-Policy": FINAL_CSP });
  });

  it("log-in and log-out, which alone adds Clear-Site-Data", async () => {
    const login = await ask("/login", {}, "POST");
    expectSecurityHeaders(login, DEFAULT_SECURE);
    const Cookie = String(login.headers["set-cookie"]?.[0]?.split(";")[0]);
    const logout = await ask("/logout", { Cookie }, "POST");
    expect(logout.status).toBe(204);
    expectSecurityHeaders(logout, { ...DEFAULT_SECURE, "Clear-Site-Data": String(logout.headers["clear-site-data"]) });
    expect(logout.headers["clear-site-data"]).toContain('"cookies"');
  });

  it("over plain http the same without Strict-Transport-Security", async () => {
    const answer = await server.send("/ok", { headers: { Host: "api.example.com" } });
    expectSecurityHeaders(answer, without(DEFAULT_SECURE, "Strict-Transport-Security"));
  });
});
