import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import express, { type Request } from "express";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { apiKeyAuth } from "../../../src/api-key/middleware.js";
import { apiKeyRoutes } from "../../../src/api-key/routes.js";
import { ApiKeyService } from "../../../src/api-key/service.js";
import type { SecurityEvent } from "../../../src/core/events.js";
import { createPrincipal } from "../../../src/core/principal.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { jwtAuth } from "../../../src/jwt/middleware.js";
import { JwtManager } from "../../../src/jwt/manager.js";
import { tokenRoutes } from "../../../src/jwt/routes.js";
import type { IssuedTokens } from "../../../src/jwt/types.js";
import { MemoryApiKeyStore } from "../../../src/stores/memory/api-key-store.js";
import { MemoryTokenStore } from "../../../src/stores/memory/token-store.js";
import { UnreadableRecordError } from "../../../src/stores/health/store-fault.js";
import type { ApiKeyStore, StoredApiKey, StoredRefreshToken, TokenStore } from "../../../src/stores/contracts.js";
import { openMysql, openPostgres, openSqlite, SqlApiKeyStore, SqlTokenStore } from "portcullis/sql";
import { type Answer, serve, type TestServer } from "../../support/serve.js";
import { mariaDbDatabase, postgresDatabase } from "../../support/servers.js";

const SECRET = "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud";
/** What is tested here is not the speed of a busy machine. */
const TIMEOUT_MS = 5000;

const folder = mkdtempSync(join(tmpdir(), "portcullis-unreadable-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface App {
  readonly keys: ApiKeyService;
  readonly tokens: JwtManager;
  readonly events: SecurityEvent[];
  /** Events since the last call, by name and reason. */
  news(): string[];
  withKey(key: string): Promise<Answer>;
  withToken(token: string): Promise<Answer>;
  post(path: string, body: unknown): Promise<Answer>;
  /** A request to the key routes from the session of a person. */
  as(owner: string, method: string, path: string): Promise<Answer>;
  close(): Promise<void>;
}

async function appOn(apiKeys: ApiKeyStore, tokenStore: TokenStore): Promise<App> {
  const runtime = createRuntime();
  const events: SecurityEvent[] = [];
  runtime.events.on("*", (event) => events.push(event));
  const keys = new ApiKeyService(
    { hash: "hmac-sha256", secret: SECRET, store: apiKeys, storeTimeoutMs: TIMEOUT_MS },
    { runtime },
  );
  const tokens = new JwtManager({ secret: SECRET, storeTimeoutMs: TIMEOUT_MS }, { runtime, store: tokenStore });
  await keys.init();
  await tokens.init();
  const app = express();
  app.use("/auth", tokenRoutes(tokens));
  app.use("/keys", (req: Request, _res, next) => {
    const id = String(req.headers["x-test-owner"]);
    req.principal = createPrincipal({ id, kind: "session", scopes: [], roles: [], credentialId: "s" });
    next();
  });
  app.use("/keys", apiKeyRoutes(keys));
  app.get("/with-key", apiKeyAuth(keys), (req, res) => void res.json({ id: req.principal?.id ?? null }));
  app.get("/with-token", jwtAuth(tokens), (req, res) => void res.json({ id: req.principal?.id ?? null }));
  const server: TestServer = await serve(app);
  return {
    keys,
    tokens,
    events,
    news: () => events.splice(0).map(({ event, reason }) => `${event} ${reason}`),
    withKey: (key) => server.send("/with-key", { headers: { "x-api-key": key } }),
    withToken: (token) => server.send("/with-token", { headers: { authorization: `Bearer ${token}` } }),
    post: (path, body) =>
      server.send(`/auth${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      }),
    as: (owner, method, path) => server.send(`/keys${path}`, { method, headers: { "x-test-owner": owner } }),
    close: async () => {
      await server.close();
      await keys.close();
      await tokens.close();
    },
  };
}

const idOfToken = (refreshToken: string): string => refreshToken.slice(3).split(".")[0] ?? "";

describe.each([
  {
    engine: "SQLite",
    open: async () => {
      const { db, close } = await openSqlite(`sqlite:${join(folder, "records.db")}`);
      return { db, slowDb: db, close };
    },
  },
  { engine: "PostgreSQL", open: async () => openPostgres(await postgresDatabase(), { timeoutMs: TIMEOUT_MS }) },
  { engine: "MariaDB", open: async () => openMysql(await mariaDbDatabase(), { timeoutMs: TIMEOUT_MS }) },
])("a damaged record on $engine", ({ open }) => {
  let opened: Awaited<ReturnType<typeof open>>;
  let app: App;
  beforeAll(async () => {
    opened = await open();
    const { db, slowDb } = opened;
    app = await appOn(new SqlApiKeyStore(db, { slowDb }), new SqlTokenStore(db, { slowDb }));
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  const setKey = async (id: string, change: Record<string, string>): Promise<void> => {
    await opened.db.updateTable("portcullis_api_keys").set(change).where("id", "=", id).execute();
  };
  const setToken = async (refreshToken: string, change: Record<string, string>): Promise<void> => {
    const id = idOfToken(refreshToken);
    const { numUpdatedRows } = await opened.db
      .updateTable("portcullis_refresh_tokens")
      .set(change)
      .where("id", "=", id)
      .executeTakeFirst();
    expect(numUpdatedRows).toBe(1n);
  };
  const newKey = (): Promise<{ key: string; record: { id: string } }> =>
    app.keys.create({ ownerId: "ada", name: "ci", scopes: ["orders:read"], metadata: { a: 1 } });

  const KEY_DAMAGE: readonly Record<"change" | "whole", Record<string, string>>[] = [
    { change: { hash_algorithm: "future" }, whole: { hash_algorithm: "hmac-sha256" } },
    { change: { scopes: "{broken" }, whole: { scopes: '["orders:read"]' } },
    { change: { metadata: "[" }, whole: { metadata: '{"a":1}' } },
  ];

  it.each(KEY_DAMAGE)("of an API key, $change: 401, and no other key is affected", async ({ change, whole }) => {
    const [damaged, twin] = [await newKey(), await newKey()];
    await setKey(damaged.record.id, change);
    app.news();
    expect((await app.withKey(damaged.key)).status).toBe(401);
    expect(app.news()).toEqual(["authn_login_fail unreadable"]);
    expect((await app.withKey(twin.key)).json()).toEqual({ id: "ada" });
    await setKey(damaged.record.id, whole);
    expect((await app.withKey(damaged.key)).json()).toEqual({ id: "ada" });
    expect(app.news().filter((line) => line.startsWith("portcullis_"))).toEqual([]);
  });

  it.each(KEY_DAMAGE)("of an API key, $change: its owner revokes it, and nobody else", async ({ change, whole }) => {
    const { key, record } = await newKey();
    await setKey(record.id, change);
    app.news();
    const foreign = await app.as("eve", "DELETE", `/${record.id}`);
    const unknown = await app.as("eve", "DELETE", "/AAAAAAAAAAAA");
    expect([foreign.status, unknown.status]).toEqual([404, 404]);
    expect((foreign.json() as { code: string }).code).toBe((unknown.json() as { code: string }).code);
    for (const [method, suffix] of [
      ["GET", ""],
      ["POST", "/rotate"],
    ] as const) {
      expect((await app.as("eve", method, `/${record.id}${suffix}`)).status).toBe(404);
      expect((await app.as("ada", method, `/${record.id}${suffix}`)).status).toBe(409);
    }
    await setKey(record.id, whole);
    expect((await app.withKey(key)).status).toBe(200);
    await setKey(record.id, change);
    expect((await app.as("ada", "DELETE", `/${record.id}`)).status).toBe(204);
    await setKey(record.id, whole);
    app.news();
    expect((await app.withKey(key)).status).toBe(401);
    expect(app.news()).toEqual(["authn_login_fail revoked"]);
    expect((await app.as("ada", "DELETE", `/${record.id}`)).status).toBe(404);
  });

  const TOKEN_DAMAGE: readonly { readonly change: Record<string, string> }[] = [
    { change: { scopes: "{broken" } },
    { change: { claims: "[" } },
  ];

  it.each(TOKEN_DAMAGE)("of a refresh token, $change: 401, and no other token is affected", async ({ change }) => {
    const [damaged, twin] = [await app.tokens.issue("ada"), await app.tokens.issue("ada")];
    await setToken(damaged.refreshToken, change);
    app.news();
    expect((await app.post("/refresh", { refreshToken: damaged.refreshToken })).status).toBe(401);
    expect(app.news()).toEqual([expect.stringMatching(/ unreadable$/)]);
    expect((await app.post("/refresh", { refreshToken: twin.refreshToken })).status).toBe(200);
    expect(app.news().filter((line) => line.startsWith("portcullis_"))).toEqual([]);
  });

  it.each(TOKEN_DAMAGE)("of a refresh token, $change: revoking it ends its family", async ({ change }) => {
    const first = await app.tokens.issue("ada");
    const next = (await app.post("/refresh", { refreshToken: first.refreshToken })).json() as IssuedTokens;
    await setToken(first.refreshToken, change);
    app.news();
    // The id alone ends nothing.
    const wrong = `rt_${idOfToken(first.refreshToken)}.${next.refreshToken.split(".")[1]}`;
    expect((await app.post("/revoke", { refreshToken: wrong })).status).toBe(204);
    expect((await app.withToken(next.accessToken)).status).toBe(200);
    expect((await app.post("/revoke", { refreshToken: first.refreshToken })).status).toBe(204);
    expect(app.news()).toContain("authn_token_revoked family");
    expect((await app.withToken(next.accessToken)).status).toBe(401);
    expect((await app.post("/refresh", { refreshToken: next.refreshToken })).status).toBe(401);
    expect(app.news().map((line) => line.split(" ")[1])).toEqual(["revoked", "revoked"]);
  });
});

describe("a record of which a store says only that it is damaged", () => {
  class DamagedKeys extends MemoryApiKeyStore {
    override async get(): Promise<StoredApiKey | undefined> {
      throw new UnreadableRecordError("API key");
    }
  }
  class DamagedTokens extends MemoryTokenStore {
    override async get(): Promise<StoredRefreshToken | undefined> {
      throw new UnreadableRecordError("refresh token");
    }
  }

  it("revoking a token is answered as for an unknown one, and revoking a key tells what is wrong", async () => {
    const app = await appOn(new DamagedKeys(), new DamagedTokens());
    const { refreshToken } = await app.tokens.issue("ada");
    const { record } = await app.keys.create({ ownerId: "ada", name: "ci" });
    app.news();
    expect((await app.post("/revoke", { refreshToken })).status).toBe(204);
    const refused = await app.as("ada", "DELETE", `/${record.id}`);
    expect([refused.status, refused.headers["retry-after"]]).toEqual([409, undefined]);
    expect(app.news().filter((line) => /portcullis_|revoked/.test(line))).toEqual([]);
    expect(await app.keys.revoke(record.id)).toBe(true);
    await app.close();
  });
});

it("the error of an unreadable record shows what can be read of it, and no log does", () => {
  const error = new UnreadableRecordError("refresh token", {
    readable: { hash: "h", familyId: "f", subject: "ada-1" },
  });
  expect(error.readable).toEqual({ hash: "h", familyId: "f", subject: "ada-1" });
  expect([JSON.stringify(error), inspect(error)].join()).not.toContain("ada-1");
  expect(new UnreadableRecordError("refresh token").readable).toEqual({});
});
