import { requireBearerAuth as requireBearerAuthV2 } from "@modelcontextprotocol/express";
import { extractWWWAuthenticateParams } from "@modelcontextprotocol/sdk/client/auth.js";
import { InvalidTokenError } from "@modelcontextprotocol/sdk/server/auth/errors.js";
import { requireBearerAuth as requireBearerAuthV1 } from "@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js";
import { OAuthError, OAuthErrorCode } from "@modelcontextprotocol/server";
import type { RequestHandler } from "express";
import express5 from "express";
import { afterEach, describe, expect, it, vi } from "vitest";
import { apiKeyAuth } from "../../src/api-key/middleware.js";
import { ApiKeyService } from "../../src/api-key/service.js";
import { applySecurity } from "../../src/apply-security.js";
import type { Security } from "../../src/security.js";
import { jwtAuth } from "../../src/jwt/middleware.js";
import { JwtManager } from "../../src/jwt/manager.js";
import { mcpVerifier, type McpVerifierSettings } from "../../src/mcp/index.js";
import type { RouteLimitSettings } from "../../src/rate-limit/route-settings.js";
import type { SecuritySettings } from "../../src/app-settings/schema.js";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";
import { foreignClaims, foreignToken, TestIssuer, testKey } from "../jwt/issuers/support.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type Answer, type TestServer } from "../support/serve.js";

const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const RESOURCE = "https://mcp.example.com/mcp";
const METADATA = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
const GENERATIONS = [
  {
    sdk: "version 1",
    requireBearerAuth: requireBearerAuthV1,
    invalidToken: (message: string): Error => new InvalidTokenError(message),
  },
  {
    sdk: "version 2",
    requireBearerAuth: requireBearerAuthV2,
    invalidToken: (message: string): Error => new OAuthError(OAuthErrorCode.InvalidToken, message),
  },
];
const invalidToken = (message: string): Error => new InvalidTokenError(message);

const open: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const part of open.splice(0).reverse()) await part.close();
});

type Both = Security<{ apiKeys: object; jwt: object }>;

interface McpServer extends TestServer {
  readonly security: Both;
  post(token?: string, path?: string): Promise<Answer>;
}

interface Wiring {
  readonly express?: typeof express5;
  readonly generation?: (typeof GENERATIONS)[number];
  readonly settings?: Partial<SecuritySettings>;
  readonly verifier?: Partial<McpVerifierSettings>;
  readonly requiredScopes?: string[];
  /** A limit of the route. */
  readonly limit?: RouteLimitSettings;
  /** Mounted between the layers and the SDK. */
  readonly between?: RequestHandler[];
}

/** An MCP server wired as src/mcp/README.md says. */
async function mcpServer({
  express = express5,
  generation = GENERATIONS[0],
  settings,
  verifier: options,
  requiredScopes,
  limit,
  between = [],
}: Wiring = {}): Promise<McpServer> {
  if (generation === undefined) throw new Error("There is no such generation.");
  const app = express();
  const security = applySecurity(app, {
    secretKey: SECRET,
    trustedHosts: ["127.0.0.1"],
    apiKeys: { hash: "hmac-sha256" },
    jwt: { audience: RESOURCE },
    ...settings,
  }) as unknown as Both;
  const verifier = mcpVerifier({
    jwt: security.jwt,
    apiKeys: security.apiKeys,
    resource: RESOURCE,
    invalidToken: generation.invalidToken,
    ...options,
  });
  if (limit !== undefined) app.use("/mcp", security.rateLimit(limit));
  app.use(
    "/mcp",
    ...between,
    generation.requireBearerAuth({
      verifier,
      expectedResource: new URL(RESOURCE),
      resourceMetadataUrl: verifier.resourceMetadataUrl,
      requiredScopes,
    }),
  );
  app.post("/mcp", (req, res) => void res.json((req as unknown as { auth: unknown }).auth));
  app.post("/guarded", security.requireAuth({ scopes: ["admin"] }), (_req, res) => void res.json("in"));
  const server = await serve(app);
  open.push(security, server);
  const post = (token?: string, path = "/mcp"): Promise<Answer> =>
    server.send(path, {
      method: "POST",
      ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
    });
  return { ...server, security, post };
}

/** What the SDK's client reads in the challenge. */
function challengeOf(answer: Answer): unknown {
  const { resourceMetadataUrl, error } = extractWWWAuthenticateParams(
    new Response(null, { headers: { "WWW-Authenticate": String(answer.headers["www-authenticate"]) } }),
  );
  return { status: answer.status, metadata: resourceMetadataUrl?.href, error };
}

describe.each(
  EXPRESS.flatMap(({ name, express }) =>
    GENERATIONS.map((generation) => ({ name, express, generation, sdk: generation.sdk })),
  ),
)("an MCP server on $name with $sdk of the SDK", ({ express, generation }) => {
  it("counts a request with an API key once, and answers 429 with Retry-After when the key's limit is used up", async () => {
    const { security, post } = await mcpServer({ express, generation });
    for (const limit of [1, 3, 4]) {
      const { key, record } = await security.apiKeys.create({
        ownerId: "ada",
        name: "k",
        rateLimit: { limit, windowSeconds: 60 },
      });
      for (let use = 0; use < limit; use += 1)
        expect([limit, use, (await post(key)).status]).toEqual([limit, use, 200]);
      const refused = await post(key);
      expect(refused.status).toBe(429);
      expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
      expect((await security.apiKeys.usage(record.id))?.usageCount).toBe(limit);
    }
    const { key, record } = await security.apiKeys.create({ ownerId: "ada", name: "free" });
    await post(key);
    expect((await security.apiKeys.usage(record.id))?.usageCount).toBe(1);
  });

  it("names the metadata document in every refusal, where the SDK's client finds it", async () => {
    const { security, post, send } = await mcpServer({ express, generation, requiredScopes: ["read"] });
    const { key, record } = await security.apiKeys.create({ ownerId: "ada", name: "k", scopes: ["read"] });
    const weak = await security.apiKeys.create({ ownerId: "ada", name: "k", scopes: ["write"] });
    const { accessToken } = await security.jwt.issue("ada", { scopes: ["read"] });
    const elsewhere = new JwtManager({ secret: SECRET, audience: "https://other.example.com" });
    open.push(elsewhere);
    const foreign = await elsewhere.signAccessToken("ada", { scopes: ["read"] });
    expect((await post(key)).json()).toMatchObject({ clientId: record.id, resource: RESOURCE });
    expect((await post(accessToken)).json()).toMatchObject({ clientId: "ada", extra: { kind: "jwt" } });
    await security.apiKeys.revoke(record.id);
    await security.jwt.revokeSubject("ada");

    for (const bad of [key, `${key}x`, accessToken, `${accessToken.slice(0, -6)}AAAAAA`, foreign, "xyz", undefined]) {
      expect(challengeOf(await post(bad))).toEqual({ status: 401, metadata: METADATA, error: "invalid_token" });
    }
    expect(challengeOf(await post(weak.key))).toEqual({ status: 403, metadata: METADATA, error: "insufficient_scope" });
    const byHeader = await send("/mcp", { method: "POST", headers: { "x-api-key": key } });
    expect(challengeOf(byHeader)).toMatchObject({ status: 401, metadata: METADATA });
    expect(byHeader.headers["www-authenticate"]).toContain('ApiKey realm="api"');
    const two = await send("/mcp", {
      method: "POST",
      headers: { "x-api-key": weak.key, authorization: `Bearer ${accessToken}` },
    });
    expect(challengeOf(two)).toEqual({ status: 400, metadata: METADATA, error: "invalid_request" });
  });

  it("names the document in refusals that are not about the credential, such as 429 and 503, without an error code", async () => {
    class Down extends MemoryTokenStore {
      override isRevoked(): never {
        throw new Error("down");
      }
    }
    const named = (status: number): unknown => ({ status, metadata: METADATA, error: undefined });
    const settings: Partial<SecuritySettings> = {
      rateLimit: { limit: 2 },
      jwt: { audience: RESOURCE, store: new Down() },
      cors: { origins: ["https://app.example.com"], refused: "reject" },
    };
    const { security, post, send } = await mcpServer({ express, generation, settings });
    const foreign = { method: "POST", headers: { origin: "https://evil.example" } };
    expect(challengeOf(await send("/mcp", { method: "POST", headers: { host: "evil.example" } }))).toEqual(named(400));
    expect(challengeOf(await send("/mcp", foreign))).toEqual(named(403));
    const { key } = await security.apiKeys.create({ ownerId: "ada", name: "k" });
    expect((await post(key)).status).toBe(200);
    const { accessToken } = await security.jwt.issue("ada");
    const unavailable = await post(accessToken);
    expect([challengeOf(unavailable), unavailable.headers["www-authenticate"]]).toEqual([
      named(503),
      `Bearer resource_metadata="${METADATA}"`,
    ]);
    const limited = await post(key);
    expect([challengeOf(limited), Number(limited.headers["retry-after"]) > 0]).toEqual([named(429), true]);
    for (const [path, options, status] of [
      ["/guarded", { method: "POST" }, 429],
      ["/other", foreign, 403],
    ] as const) {
      const elsewhere = await send(path, options);
      expect([elsewhere.status, elsewhere.headers["www-authenticate"]]).toEqual([status, undefined]);
    }
  });

  it("names the document in the 429 of a key over its limit and of a route's limit", async () => {
    const { security, post } = await mcpServer({
      express,
      generation,
      limit: { name: "mcp", limit: 3, windowSeconds: 60 },
    });
    const { key } = await security.apiKeys.create({
      ownerId: "ada",
      name: "k",
      rateLimit: { limit: 1, windowSeconds: 60 },
    });
    const { key: free } = await security.apiKeys.create({ ownerId: "ada", name: "free" });
    expect((await post(key)).status).toBe(200);
    expect(challengeOf(await post(key))).toEqual({ status: 429, metadata: METADATA, error: undefined });
    expect([(await post(free)).status, (await post(free)).status]).toEqual([200, 200]);
    expect(challengeOf(await post(free))).toEqual({ status: 429, metadata: METADATA, error: undefined });
  });
});

describe.each(
  EXPRESS.flatMap(({ name, express }) =>
    GENERATIONS.map((generation) => ({ name, express, generation, sdk: generation.sdk })),
  ),
)("a token of another issuer on $name with $sdk of the SDK", ({ express, generation }) => {
  const key = testKey("ES256", "k");

  async function withIssuer(settings: Partial<SecuritySettings> = {}, requiredScopes?: string[]) {
    const issuer = await TestIssuer.start(key);
    open.push(issuer);
    const entry = {
      issuer: issuer.url,
      audience: [RESOURCE, "https://api.example.com"],
      algorithms: ["ES256" as const],
    };
    const made = await mcpServer({
      express,
      generation,
      settings: { debug: true, jwt: { audience: RESOURCE, issuers: [entry] }, ...settings },
      requiredScopes,
    });
    const token = (changes: Record<string, unknown> = {}, by = key): Promise<string> =>
      foreignToken(by, foreignClaims(issuer.url, { aud: RESOURCE, ...changes }, Date.now()));
    return { ...made, issuer, token, check: vi.spyOn(made.security.jwt.verifier, "check") };
  }

  it("is verified and counted once, first seen and remembered", async () => {
    const settings = { rateLimit: { limit: 100, perPrincipal: { limit: 3 } } };
    const { issuer, token, post, check, security } = await withIssuer(settings);
    const text = await token({ jti: "t-1", client_id: "agent" });
    for (let use = 1; use <= 3; use += 1) {
      const answer = await post(text);
      expect([answer.status, check.mock.calls.length]).toEqual([200, use]);
      expect(answer.json()).toMatchObject({
        token: text,
        clientId: "agent",
        scopes: ["orders:read"],
        resource: RESOURCE,
        extra: { kind: "jwt", subject: `${issuer.url}|ada`, issuer: issuer.url, credentialId: "t-1" },
      });
      expect(await security.limits.peek("default-principal", `${issuer.url}|ada`)).toMatchObject({ used: use });
    }
    expect(challengeOf(await post(text))).toEqual({ status: 429, metadata: METADATA, error: undefined });
    expect(issuer.fetches).toBe(1);
    // Another subject of the issuer has a count of its own.
    expect((await post(await token({ sub: "bob" }))).status).toBe(200);
  });

  it("gets the challenge with the metadata document in every refusal", async () => {
    const { issuer, token, post, security, check } = await withIssuer({}, ["orders:read"]);
    const good = await token({ jti: "t-1" });
    expect((await post(good)).status).toBe(200);
    await security.jwt.revokeToken("t-1");
    const now = Math.floor(Date.now() / 1000);
    for (const [what, bad] of Object.entries({
      revoked: good,
      expired: await token({ iat: now - 600, exp: now - 300 }),
      "of an unknown issuer": await token({ iss: `${issuer.url}/` }),
      "of another key": await token({}, { ...testKey("ES256"), kid: "k" }),
      "an ID token": await token({ nonce: "n" }),
      "for another service": await token({ aud: "https://elsewhere.example.com" }),
      // The layer takes it, as one of the audiences of the settings; the resource is another.
      "for another resource": await token({ aud: "https://api.example.com" }),
    }))
      expect([what, challengeOf(await post(bad))]).toEqual([
        what,
        { status: 401, metadata: METADATA, error: "invalid_token" },
      ]);
    expect(check).toHaveBeenCalledTimes(8);
    expect(challengeOf(await post(await token({ scope: "orders:write" })))).toEqual({
      status: 403,
      metadata: METADATA,
      error: "insufficient_scope",
    });
    expect((await post(await token())).status).toBe(200);
  });

  it("gets 503 with the document and without an error code while the issuer's keys cannot be fetched", async () => {
    const { issuer, token, post } = await withIssuer();
    issuer.answer = (_req, res) => void res.writeHead(500).end();
    const answer = await post(await token());
    expect(challengeOf(answer)).toEqual({ status: 503, metadata: METADATA, error: undefined });
    expect(answer.headers["retry-after"]).toBe("1");
  });
});

describe("paths of a resource", () => {
  it.each(["/mcp", "/mcp/", "/MCP", "/mcp/deep/er", "/mcp?x=1"])("%s is one of them", async (path) => {
    const { post } = await mcpServer();
    expect(challengeOf(await post("xyz", path))).toMatchObject({ metadata: METADATA });
  });

  it.each(["/", "/mcpx", "/mc", "/other/mcp", "/guarded?path=/mcp", "//mcp"])(
    "%s is not one of them: its challenge does not name the resource",
    async (path) => {
      const { post } = await mcpServer();
      const answer = await post("xyz", path);
      expect(answer.status).toBe(401);
      expect(answer.headers["www-authenticate"]).toBe('Bearer realm="api", error="invalid_token"');
    },
  );

  it("guards name the document too, under the resource and nowhere else", async () => {
    const { post } = await mcpServer({ verifier: { path: "/guarded" } });
    expect(challengeOf(await post(undefined, "/guarded"))).toEqual({
      status: 401,
      metadata: METADATA,
      error: undefined,
    });
    const { post: other } = await mcpServer();
    expect(challengeOf(await other(undefined, "/guarded"))).toEqual({
      status: 401,
      metadata: undefined,
      error: undefined,
    });
  });

  it("the URL of the document can be given, and of several resources the one with the longest path counts", async () => {
    const resourceMetadataUrl = "https://docs.example.com/mcp.json";
    const { security, post } = await mcpServer({
      verifier: { resourceMetadataUrl },
      settings: { jwt: { audience: [RESOURCE, "https://mcp.example.com/", `${RESOURCE}/admin`] } },
    });
    mcpVerifier({ jwt: security.jwt, resource: "https://mcp.example.com/", invalidToken });
    mcpVerifier({ jwt: security.jwt, resource: `${RESOURCE}/admin`, invalidToken });
    for (const [path, metadata] of [
      ["/mcp/tools", resourceMetadataUrl],
      ["/mcp/admin/x", `${METADATA}/admin`],
      ["/anything", "https://mcp.example.com/.well-known/oauth-protected-resource"],
    ] as const) {
      expect(challengeOf(await post("xyz", path))).toMatchObject({ metadata });
    }
  });

  it("are refused at start when they are not of their form", () => {
    const apiKeys = new ApiKeyService({ hash: "hmac-sha256", secret: SECRET });
    open.push(apiKeys);
    for (const wrong of [
      { resource: "/mcp" },
      { resource: "urn:mcp" },
      { resource: RESOURCE, path: "mcp" },
      { resource: RESOURCE, resourceMetadataUrl: "/.well-known/x" },
    ]) {
      expect(() => mcpVerifier({ apiKeys, invalidToken, ...wrong })).toThrow(
        expect.objectContaining({ code: "PORTCULLIS_SETUP" }),
      );
    }
    expect(mcpVerifier({ apiKeys, invalidToken, resource: RESOURCE }).resourceMetadataUrl).toBe(METADATA);
  });
});

describe("the verdict of a layer", () => {
  it("counts for the request that it was given on, and for no other", async () => {
    const { security, post } = await mcpServer();
    const check = vi.spyOn(security.jwt.verifier, "check");
    const { accessToken } = await security.jwt.issue("ada");
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(accessToken)));
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(check).toHaveBeenCalledTimes(20);
    await security.jwt.revokeSubject("ada");
    expect((await post(accessToken)).status).toBe(401);
  });

  it("is found on one connection for each request anew, with different keys", async () => {
    const { security, origin } = await mcpServer();
    const made = await Promise.all(
      ["ada", "bob", "eve"].map((ownerId) =>
        security.apiKeys.create({ ownerId, name: "k", rateLimit: { limit: 4, windowSeconds: 60 } }),
      ),
    );
    for (let round = 0; round < 4; round += 1) {
      for (const { key, record } of made) {
        const answer = await fetch(`${origin}/mcp`, { method: "POST", headers: { authorization: `Bearer ${key}` } });
        expect(await answer.json()).toMatchObject({ clientId: record.id, extra: { subject: record.ownerId } });
      }
    }
    for (const { key, record } of made) {
      expect(
        (await fetch(`${origin}/mcp`, { method: "POST", headers: { authorization: `Bearer ${key}` } })).status,
      ).toBe(429);
      expect((await security.apiKeys.usage(record.id))?.usageCount).toBe(4);
    }
  });

  it("is found behind a body parser and other asynchronous middleware", async () => {
    const between: RequestHandler[] = [express5.json(), (_req, _res, next) => void setTimeout(next, 5)];
    const { security, send } = await mcpServer({ between });
    const { key, record } = await security.apiKeys.create({ ownerId: "ada", name: "k" });
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" });
    const answer = await send("/mcp", {
      method: "POST",
      body,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    });
    expect(answer.status).toBe(200);
    expect((await security.apiKeys.usage(record.id))?.usageCount).toBe(1);
  });

  it("does not outlive its request: work that began during it verifies again", async () => {
    const begun: Promise<unknown>[] = [];
    let end: (verify: () => Promise<unknown>) => void = () => undefined;
    const ended = new Promise<() => Promise<unknown>>((resolve) => (end = resolve));
    const between: RequestHandler[] = [
      (_req, _res, next) => {
        begun.push(ended.then((verify) => verify()));
        next();
      },
    ];
    const { security, post } = await mcpServer({ between });
    const { key, record } = await security.apiKeys.create({ ownerId: "ada", name: "k" });
    const verifier = mcpVerifier({ apiKeys: security.apiKeys, resource: RESOURCE, invalidToken });
    await post(key);
    await security.apiKeys.revoke(record.id);
    end(() => verifier.verifyAccessToken(key));
    await expect(begun[0]).rejects.toThrow("The token is invalid.");
  });

  it("comes from parts used alone as well", async () => {
    const apiKeys = new ApiKeyService({ hash: "hmac-sha256", secret: SECRET });
    const jwt = new JwtManager({ secret: `x${SECRET}`, audience: RESOURCE });
    open.push(apiKeys, jwt);
    const app = express5();
    app.use(apiKeyAuth(apiKeys), jwtAuth(jwt));
    app.post(
      "/mcp",
      requireBearerAuthV1({ verifier: mcpVerifier({ apiKeys, jwt, resource: RESOURCE, invalidToken }) }),
      (_req, res) => void res.json("in"),
    );
    const server = await serve(app);
    open.push(server);
    const check = vi.spyOn(jwt.verifier, "check");
    const { key, record } = await apiKeys.create({
      ownerId: "ada",
      name: "k",
      rateLimit: { limit: 2, windowSeconds: 60 },
    });
    const { accessToken } = await jwt.issue("ada");
    const post = async (token: string) =>
      (await server.send("/mcp", { method: "POST", headers: { authorization: `Bearer ${token}` } })).status;
    expect([await post(key), await post(key), await post(key)]).toEqual([200, 200, 429]);
    expect((await apiKeys.usage(record.id))?.usageCount).toBe(2);
    expect(await post(accessToken)).toBe(200);
    expect(check).toHaveBeenCalledTimes(1);
  });

  it("lets a key over its limit pass where the layer only reports", async () => {
    const { security, post } = await mcpServer({ settings: { apiKeys: { hash: "hmac-sha256", mode: "report" } } });
    const seen: string[] = [];
    security.events.on("excess_rate_limit_exceeded", ({ mode }) => seen.push(String(mode)));
    const { key } = await security.apiKeys.create({
      ownerId: "ada",
      name: "k",
      rateLimit: { limit: 1, windowSeconds: 60 },
    });
    expect([(await post(key)).status, (await post(key)).status]).toEqual([200, 200]);
    expect(seen).toEqual(["report"]);
    expect((await post("xyz")).status).toBe(401);
  });
});
