import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseEnv } from "node:util";
import express from "express";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { applySecurity, type Security, settingsFromEnv } from "portcullis";
import { type Answer, serve, type TestServer } from "../support/serve.js";

/** The files that the original system's operators wrote. */
const FILES = {
  "the three variables alone": `# Security
SECRET_KEY="k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E"
ALLOWED_HOSTS=["api.example.com","*.internal.example.com"]
BACKEND_CORS_ORIGINS=["https://app.example.com","http://localhost:3000"]
`,
  "every variable, lists with commas": `SECRET_KEY=k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E
DEBUG=false
TRUST_PROXY=127.0.0.1,10.0.0.0/8
ALLOWED_HOSTS=api.example.com, *.internal.example.com
BACKEND_CORS_ORIGINS=https://app.example.com,http://localhost:3000
CORS_ALLOW_CREDENTIALS=true
CSRF_TRUSTED_ORIGINS=https://admin.example.com
RATE_LIMIT_PER_MINUTE=100
SESSION_SECRET_KEY=wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud
SESSION_MAX_AGE=3600
SESSION_COOKIE=mcp_session
API_KEY_PREFIX=mcp_
API_KEY_LENGTH=32
ALGORITHM=HS256
ACCESS_TOKEN_EXPIRE_MINUTES=30
REFRESH_TOKEN_EXPIRE_DAYS=7
`,
};

type Everything = Security<{ session: object; apiKeys: object; jwt: object }>;

describe.each(Object.entries(FILES))("an app started from a .env file with %s", (_name, file) => {
  const folder = mkdtempSync(join(tmpdir(), "portcullis-env-"));
  const HOST = { host: "api.example.com" };
  let security: Everything;
  let server: TestServer;

  beforeAll(async () => {
    const path = join(folder, ".env");
    writeFileSync(path, file);
    const app = express();
    security = applySecurity(app, settingsFromEnv(parseEnv(readFileSync(path, "utf8")))) as Everything;
    app.get("/", (_req, res) => void res.send("hello"));
    app.get("/me", security.requireAuth(), (req, res) => void res.json(req.principal));
    app.post(
      "/login",
      security.handler(async (req, res) => {
        await security.logIn(req, { id: "ada" });
        res.sendStatus(204);
      }),
    );
    await security.ready();
    server = await serve(app);
  });
  afterAll(async () => {
    await server.close();
    await security.close();
    rmSync(folder, { recursive: true });
  });
  const ask = (path: string, headers: Record<string, string> = {}, method = "GET"): Promise<Answer> =>
    server.send(path, { method, headers: { ...HOST, ...headers } });

  it("has all seven protections on", () => {
    expect(security.describe().map(({ id, mode }) => `${id} ${mode}`)).toEqual([
      "context enforce",
      "headers enforce",
      "trusted-host enforce",
      "cors enforce",
      "rate-limit enforce",
      "csrf enforce",
      "session enforce",
      "api-key enforce",
      "jwt enforce",
    ]);
    expect(security.settings).toMatchObject({
      debug: false,
      rateLimit: { limit: 100, windowSeconds: 60 },
      session: { maxAge: 3600, cookieName: "mcp_session" },
      apiKeys: { prefix: "mcp_", length: 32 },
      jwt: { algorithm: "HS256", accessTokenMinutes: 30, refreshTokenDays: 7 },
    });
  });

  it("1 sends the security headers", async () => {
    const { headers } = await ask("/");
    expect(headers["content-security-policy"]).toContain("default-src 'self'");
    expect(headers["x-content-type-options"]).toBe("nosniff");
    expect(headers["x-frame-options"]).toBe("DENY");
  });

  it("2 limits each client", async () => {
    const { headers } = await ask("/");
    expect(headers["ratelimit-policy"]).toMatch(/q=100; ?w=60/);
  });

  it("3 answers the listed origins with credentials, any method and any header", async () => {
    const preflight = (origin: string): Promise<Answer> =>
      ask(
        "/",
        { origin, "access-control-request-method": "PATCH", "access-control-request-headers": "x-own" },
        "OPTIONS",
      );
    for (const origin of ["https://app.example.com", "http://localhost:3000"])
      expect((await preflight(origin)).headers).toMatchObject({
        "access-control-allow-origin": origin,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "PATCH",
        "access-control-allow-headers": "x-own",
      });
    expect((await preflight("https://evil.example")).headers).not.toHaveProperty("access-control-allow-origin");
  });

  it("4 answers for the listed hosts only", async () => {
    expect((await ask("/", { host: "eu.internal.example.com" })).text).toBe("hello");
    const refused = await ask("/", { host: "evil.example" });
    expect([refused.status, refused.json()]).toEqual([400, expect.objectContaining({ code: "untrusted-host" })]);
  });

  it("5 keeps sessions in a cookie bound to host and https, and refuses another site's form", async () => {
    const cookie = (await ask("/login", {}, "POST")).headers["set-cookie"]?.[0] ?? "";
    expect(cookie).toMatch(/^__Host-mcp_session=s%3A[^;]+; Max-Age=3600; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
    const me = await ask("/me", { cookie: cookie.split(";")[0] ?? "" });
    expect(me.json()).toMatchObject({ id: "ada", kind: "session" });
    const forged = await ask("/login", { origin: "https://evil.example" }, "POST");
    expect([forged.status, forged.json()]).toEqual([403, expect.objectContaining({ code: "cross-origin-refused" })]);
    expect((await ask("/me")).status).toBe(401);
  });

  it("6 accepts an API key, and no other", async () => {
    const { key } = await security.apiKeys.create({ ownerId: "ada", name: "env" });
    expect(key).toMatch(/^mcp_/);
    expect((await ask("/me", { "x-api-key": key })).json()).toMatchObject({ id: "ada", kind: "api-key" });
    expect((await ask("/me", { "x-api-key": `${key.slice(0, -1)}_` })).status).toBe(401);
  });

  it("7 accepts an access token, and no other", async () => {
    const { accessToken, expiresIn } = await security.jwt.issue("ada");
    expect(expiresIn).toBe(1800);
    expect((await ask("/me", { authorization: `Bearer ${accessToken}` })).json()).toMatchObject({
      id: "ada",
      kind: "jwt",
    });
    expect((await ask("/me", { authorization: `Bearer ${accessToken.slice(0, -2)}` })).status).toBe(401);
  });
});
