import { requireBearerAuth as requireBearerAuthV2 } from "@modelcontextprotocol/express";
import { InvalidTokenError } from "@modelcontextprotocol/sdk/server/auth/errors.js";
import { requireBearerAuth as requireBearerAuthV1 } from "@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js";
import { OAuthError, OAuthErrorCode } from "@modelcontextprotocol/server";
import express from "express";
import { describe, expect, it } from "vitest";
import { ApiKeyService } from "../../src/api-key/service.js";
import { JwtManager } from "../../src/jwt/manager.js";
import { mcpVerifier } from "../../src/mcp/index.js";
import { SetupError } from "../../src/core/setup-error.js";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";
import { serve } from "../support/serve.js";

const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const RESOURCE = "https://mcp.example.com/mcp";
const GENERATIONS = [
  {
    name: "version 1",
    requireBearerAuth: requireBearerAuthV1,
    invalidToken: (message: string) => new InvalidTokenError(message),
  },
  {
    name: "version 2",
    requireBearerAuth: requireBearerAuthV2,
    invalidToken: (message: string) => new OAuthError(OAuthErrorCode.InvalidToken, message),
  },
];

describe.each(GENERATIONS)("mcpVerifier with $name of the SDK", ({ requireBearerAuth, invalidToken }) => {
  async function setUp(store = new MemoryTokenStore()) {
    const jwt = new JwtManager({ secret: SECRET, audience: [RESOURCE, "https://api.example.com"] }, { store });
    const apiKeys = new ApiKeyService({ hash: "hmac-sha256", secret: `x${SECRET}` });
    const app = express();
    app.use(
      requireBearerAuth({
        verifier: mcpVerifier({ jwt, apiKeys, resource: RESOURCE, invalidToken }),
        expectedResource: new URL(RESOURCE),
        requiredScopes: ["read"],
      }),
    );
    app.get("/", (req, res) => void res.json((req as unknown as { auth: { clientId: string; extra: unknown } }).auth));
    const server = await serve(app);
    const ask = async (token?: string) =>
      server.send("/", token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
    return { jwt, apiKeys, ask, close: async () => Promise.all([server.close(), jwt.close(), apiKeys.close()]) };
  }

  it("accepts valid keys and tokens, and answers 401 to others", async () => {
    const { jwt, apiKeys, ask, close } = await setUp();
    const { key, record } = await apiKeys.create({ ownerId: "ada", name: "k", scopes: ["read"] });
    const { accessToken } = await jwt.issue("ada", { scopes: ["read"] });
    expect((await ask(key)).json()).toMatchObject({
      clientId: record.id,
      scopes: ["read"],
      resource: RESOURCE,
      extra: { kind: "api-key", subject: "ada" },
    });
    expect((await ask(accessToken)).json()).toMatchObject({
      clientId: "ada",
      scopes: ["read"],
      extra: { kind: "jwt", subject: "ada" },
    });
    await apiKeys.revoke(record.id, { reason: "test" });
    await jwt.revokeSubject("ada");
    for (const token of [key, accessToken, `${accessToken}x`, "garbage", undefined])
      expect((await ask(token)).status).toBe(401);
    await close();
  });

  it("says of the caller what req.principal says", async () => {
    const { jwt, apiKeys, ask, close } = await setUp();
    const { key, record } = await apiKeys.create({
      ownerId: "ada",
      name: "k",
      scopes: ["read"],
      metadata: { team: "red" },
    });
    expect((await ask(key)).json()).toMatchObject({
      extra: {
        claims: { team: "red" },
        authenticatedAt: record.createdAt,
        methods: [{ method: "key", at: record.createdAt }],
      },
    });
    const at = Math.floor(Date.now() / 1000) * 1000 - 60_000;
    const { accessToken } = await jwt.issue("ada", {
      scopes: ["read"],
      claims: { team: "blue" },
      methods: [{ method: "webauthn", at }],
    });
    expect((await ask(accessToken)).json()).toMatchObject({
      extra: { claims: { team: "blue", sub: "ada" }, authenticatedAt: at, methods: [{ method: "webauthn", at }] },
    });
    await close();
  });

  it("refuses a token for another audience (RFC 8707)", async () => {
    const { ask, close } = await setUp();
    const other = new JwtManager({ secret: SECRET, audience: "https://other.example.com" });
    expect((await ask((await other.issue("ada", { scopes: ["read"] })).accessToken)).status).toBe(401);
    await other.close();
    await close();
  });

  it("answers 403 to an insufficient scope", async () => {
    const { jwt, ask, close } = await setUp();
    expect((await ask((await jwt.issue("ada", { scopes: ["write"] })).accessToken)).status).toBe(403);
    await close();
  });

  it("answers 500, and not 401, when a store is down", async () => {
    class Down extends MemoryTokenStore {
      override isRevoked(): never {
        throw new Error("down");
      }
    }
    const { jwt, ask, close } = await setUp(new Down());
    expect((await ask((await jwt.issue("ada", { scopes: ["read"] })).accessToken)).status).toBe(500);
    await close();
  });
});

it("mcpVerifier refuses settings at start that could never work", () => {
  const invalidToken = (message: string) => new InvalidTokenError(message);
  expect(() => mcpVerifier({ resource: RESOURCE, invalidToken })).toThrow(SetupError);
  const jwt = new JwtManager({ secret: SECRET });
  expect(() => mcpVerifier({ jwt, resource: RESOURCE, invalidToken })).toThrow(/audience/);
});
