import express, { type Express, type RequestHandler } from "express";
import type session from "express-session";
import { afterEach, describe, expect, it, vi } from "vitest";
import { applySecurity, jwtAuth, JwtManager, MemorySessionStore, rateLimiter, tokenRoutes } from "portcullis";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";
import { serve, type TestServer } from "../support/serve.js";

const SECRET = "q7dS1uY0pXk3Vw8ZrT5nB2mC9eFgHjLa";
const DOWN = (): never => {
  throw new Error("connection lost");
};
const touches: RequestHandler = (req, res) => {
  Object.assign(req.session, { seen: true });
  res.json({});
};

/** An app with sessions in this store. */
function withSessions(store: session.Store): Express {
  const app = express();
  applySecurity(app, { trustedHosts: ["127.0.0.1"], secretKey: SECRET, session: { store } });
  return app.get("/", touches);
}

describe("every 503 says when to try again", () => {
  const open: TestServer[] = [];
  afterEach(async () => {
    for (const server of open.splice(0)) await server.close();
  });
  async function started(app: Express): Promise<TestServer> {
    const server = await serve(app);
    open.push(server);
    return server;
  }
  const UNAVAILABLE = { status: 503, headers: expect.objectContaining({ "retry-after": "1" }) as object };

  it("of a session that cannot be read", async () => {
    const store = new MemorySessionStore();
    const server = await started(withSessions(store));
    const first = await server.send("/");
    expect(first.status).toBe(200);
    const cookie = String(first.headers["set-cookie"]).split(";")[0] ?? "";
    vi.spyOn(store, "get").mockImplementation(DOWN);
    expect(await server.send("/", { headers: { cookie } })).toMatchObject(UNAVAILABLE);
  });

  it("of a session that cannot be saved, or for which there is no room", async () => {
    const down = new MemorySessionStore();
    vi.spyOn(down, "create").mockImplementation(DOWN);
    expect(await (await started(withSessions(down))).send("/")).toMatchObject(UNAVAILABLE);

    const app = express();
    const security = applySecurity(app, {
      trustedHosts: ["127.0.0.1"],
      secretKey: SECRET,
      session: { store: new MemorySessionStore({ maxSessions: 1 }) },
    });
    app.get("/login", async (req, res) => {
      await security.logIn(req, { id: "ada" });
      res.json({});
    });
    app.get("/", touches);
    const server = await started(app);
    expect((await server.send("/login")).status).toBe(200);
    expect(await server.send("/")).toMatchObject(UNAVAILABLE);
  });

  it("of a token whose revocation cannot be looked up, and of a revocation", async () => {
    const store = new MemoryTokenStore();
    const manager = new JwtManager({ secret: SECRET, store });
    const app = express();
    app.use("/tokens", tokenRoutes(manager));
    app.get("/", jwtAuth(manager), (_req, res) => void res.json({}));
    const server = await started(app);
    const { accessToken, refreshToken } = await manager.issue("ada");
    const asCaller = { headers: { authorization: `Bearer ${accessToken}` } };
    expect((await server.send("/", asCaller)).status).toBe(200);
    vi.spyOn(store, "isRevoked").mockImplementationOnce(DOWN);
    expect(await server.send("/", asCaller)).toMatchObject(UNAVAILABLE);
    vi.spyOn(store, "revokeFamily").mockImplementationOnce(DOWN);
    const revoke = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ refreshToken }),
    };
    expect(await server.send("/tokens/revoke", revoke)).toMatchObject(UNAVAILABLE);
    expect((await server.send("/tokens/revoke", revoke)).status).toBe(204);
  });

  it('of a limit with onStoreError: "deny"', async () => {
    const app = express();
    const store = { consume: DOWN, peek: DOWN, reset: DOWN, close: () => undefined };
    app.use(rateLimiter({ store, onStoreError: "deny" } as unknown as Parameters<typeof rateLimiter>[0]));
    expect(await (await started(app)).send("/")).toMatchObject(UNAVAILABLE);
  });
});
