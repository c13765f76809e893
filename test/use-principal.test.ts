import type { ErrorRequestHandler, Request } from "express";
import { describe, expect, it } from "vitest";
import {
  AmbiguousCredentialsError,
  applySecurity,
  type ExternalCaller,
  InvalidInputError,
  type SecurityEvent,
  type SecuritySettings,
  SetupError,
} from "portcullis";
import { EXPRESS } from "./support/express-versions.js";
import { serve } from "./support/serve.js";

const SECRET = "kJ8#vQ2!mZ7@xW4$nR9%tY6^bH3&cL5*";

describe.each(EXPRESS)("usePrincipal on $name", ({ express }) => {
  /** An app in which a proxy names the caller, in `X-User`. */
  async function start(
    settings: SecuritySettings = {},
    callerOf: (name: string) => unknown = (id) => ({ id, scopes: ["orders:read"], roles: ["clerk"] }),
  ) {
    const app = express();
    const security = applySecurity(app, { debug: true, secretKey: SECRET, csrf: {}, ...settings });
    const events: SecurityEvent[] = [];
    const errors: unknown[] = [];
    security.events.on("*", (event) => void events.push(event));
    app.post("/log-in", async (req, res, next) => {
      await security.logIn(req, { id: "ada" }).then(() => void res.sendStatus(204), next);
    });
    app.use((req, _res, next) => {
      const name = req.get("X-User");
      security.usePrincipal(req, name === undefined ? undefined : (callerOf(name) as ExternalCaller));
      next();
    });
    app.all("/me", security.requireAuth(), (req, res) => void res.json(req.principal));
    app.get("/keys-only", security.requireAuth({ kinds: ["api-key"] }), (req, res) => void res.json(req.principal));
    app.get("/external", security.requireAuth({ kinds: ["external"] }), (req, res) => void res.json(req.principal));
    app.get("/write", security.requireAuth({ scopes: ["orders:write"] }), (req, res) => void res.json(req.principal));
    app.get("/open", (_req, res) => void res.send("open"));
    app.get("/limited", security.rateLimit({ name: "l", limit: 1 }), (_req, res) => void res.send("ok"));
    if (settings.apiKeys) app.use("/api-keys", security.apiKeyRoutes());
    app.use(((error, _req, res, _next) => {
      errors.push(error);
      res.status((error as { status?: number }).status ?? 500).send(error instanceof Error ? error.message : "");
    }) as ErrorRequestHandler);
    const server = await serve(app);
    return { security, events, errors, ...server };
  }
  const as = (user: string, more = {}) => ({ headers: { "X-User": user, ...more } });

  it("sets a frozen principal of kind external that guards accept, and announces it", async () => {
    const app = await start();
    const seen: SecurityEvent[] = [];
    app.security.events.on("portcullis_credential_accepted", (event) => void seen.push(event));
    const answer = await app.send("/me", as("ada"));
    expect([answer.status, answer.json()]).toEqual([
      200,
      {
        id: "ada",
        kind: "external",
        scopes: ["orders:read"],
        roles: ["clerk"],
        credentialId: "external",
        claims: {},
        authenticatedAt: 0,
        methods: [{ method: "federated", at: 0 }],
      },
    ]);
    expect(answer.headers["cache-control"]).toBe("private");
    expect((await app.send("/external", as("ada"))).status).toBe(200);
    expect(seen.map(({ source, subject }) => [source, subject])).toEqual([
      ["external", "ada"],
      ["external", "ada"],
    ]);
    await app.close();
  });

  it("takes the time of the log-in from the app, and is never fresh without it", async () => {
    const app = await start({}, (id) => ({ id: "ada", authenticatedAt: Number(id) }));
    expect((await app.send("/me", as("1767225600000"))).json()).toMatchObject({
      authenticatedAt: 1_767_225_600_000,
      methods: [{ method: "federated", at: 1_767_225_600_000 }],
    });
    for (const time of ["-1", "0.5", "never", "1e400"]) expect((await app.send("/me", as(time))).status).toBe(400);
    await app.close();
  });

  it("leaves an anonymous request anonymous: guards answer 401 with a challenge, and open routes answer", async () => {
    const app = await start();
    const answer = await app.send("/me");
    expect([answer.status, answer.json(), answer.headers["www-authenticate"]]).toEqual([
      401,
      expect.objectContaining({ code: "missing-credentials" }),
      'External realm="api"',
    ]);
    const open = await app.send("/open");
    expect([open.status, open.headers["cache-control"]]).toEqual([200, undefined]);
    await app.close();
  });

  it("gives guards what they check: kind and scopes", async () => {
    const app = await start({ apiKeys: {} });
    expect((await app.send("/keys-only", as("ada"))).status).toBe(401);
    const narrow = await app.send("/write", as("ada"));
    expect([narrow.status, (narrow.json() as { code: string }).code]).toEqual([403, "insufficient-scope"]);
    await app.close();
    const wide = await start({}, (id) => ({ id, scopes: ["orders:*"] }));
    expect((await wide.send("/write", as("ada"))).status).toBe(200);
    await wide.close();
  });

  it("rejects a request with a second credential with 400, and does not replace its principal", async () => {
    const app = await start({ apiKeys: {}, session: {} });
    const { key } = await app.security.apiKeys!.create({ ownerId: "program", name: "p" });
    expect((await app.send("/me", { headers: { "X-API-Key": key } })).json()).toMatchObject({ kind: "api-key" });
    const both = await app.send("/me", as("ada", { "X-API-Key": key }));
    expect([both.status, both.text]).toEqual([400, "This request has more than one credential. Send exactly one."]);
    const cookie = (await app.send("/log-in", { method: "POST" })).headers["set-cookie"]![0]!.split(";")[0]!;
    expect((await app.send("/me", { headers: { Cookie: cookie } })).json()).toMatchObject({ kind: "session" });
    expect((await app.send("/me", as("ada", { Cookie: cookie }))).status).toBe(400);
    expect(app.errors.every((error) => error instanceof AmbiguousCredentialsError)).toBe(true);
    await app.close();
  });

  it("rejects a malformed id, scope or role with 400, and accepts an integer as id", async () => {
    for (const bad of [
      { id: "" },
      { id: "a\nb" },
      { id: "x".repeat(256) },
      { id: 1.5 },
      {},
      "ada",
      null,
      { id: "a", scopes: ["*"] },
      { id: "a", roles: "admin" },
    ]) {
      const app = await start({}, () => bad);
      const answer = await app.send("/me", as("ada"));
      expect([answer.status, app.errors[0]], JSON.stringify(bad)).toEqual([400, expect.any(InvalidInputError)]);
      await app.close();
    }
    const app = await start({}, () => ({ id: 42 }));
    expect((await app.send("/me", as("ada"))).json()).toMatchObject({ id: "42" });
    await app.close();
  });

  it("counts these callers in the limit of a route, each on their own", async () => {
    const app = await start();
    const statuses = async (user: string) => (await app.send("/limited", as(user))).status;
    expect([await statuses("ada"), await statuses("ada"), await statuses("bob")]).toEqual([200, 429, 200]);
    await app.close();
  });

  it("is protected against cross-origin requests as sessions are", async () => {
    const app = await start();
    const post = async (origin: string) =>
      (await app.send("/me", { method: "POST", ...as("ada", { "Sec-Fetch-Site": origin }) })).status;
    expect([await post("cross-site"), await post("same-origin")]).toEqual([403, 200]);
    await app.close();
  });

  it.each([
    ["csrf is off because nothing needs it", { csrf: undefined }, 500],
    ["csrf is turned off explicitly", { csrf: false }, 200],
    ["sessions turn csrf on", { csrf: undefined, session: {} }, 200],
  ] as const)("answers as it should when %s", async (_name, settings, status) => {
    const app = await start(settings);
    const answer = await app.send("/me", as("ada"));
    expect(answer.status).toBe(status);
    if (status === 500) {
      expect(app.errors[0]).toBeInstanceOf(SetupError);
      expect(answer.text).toContain("applySecurity(app, { csrf: {} })");
    }
    await app.close();
  });

  it("refuses a request that the protections have not handled", async () => {
    const security = applySecurity(express(), { debug: true, csrf: {} });
    const other = express();
    other.use((req: Request, _res, next) => {
      security.usePrincipal(req, { id: "ada" });
      next();
    });
    other.use(((error, _req, res, _next) => void res.status(500).send(String(error))) as ErrorRequestHandler);
    const server = await serve(other);
    expect((await server.send("/")).text).toContain("Call it after applySecurity");
    await server.close();
    await security.close();
  });

  it("lets these callers manage keys with the managing scope, and create keys when the routes set a lifetime", async () => {
    const app = express();
    const security = applySecurity(app, { debug: true, secretKey: SECRET, csrf: {}, apiKeys: {} });
    app.use((req, _res, next) => {
      security.usePrincipal(req, { id: "ada", scopes: (req.get("X-Scopes") ?? "").split(" ").filter(Boolean) });
      next();
    });
    app.use("/unlimited", security.apiKeyRoutes());
    app.use("/limited", security.apiKeyRoutes({ maxLifetimeDays: 1 }));
    const server = await serve(app);
    const create = (path: string, scopes: string) =>
      server.send(path, {
        method: "POST",
        headers: { "X-Scopes": scopes, "Content-Type": "application/json" },
        body: JSON.stringify({ name: "k", expiresAt: null }),
      });
    expect((await create("/limited", "")).status).toBe(403);
    const made = await create("/limited", "api-keys:manage");
    expect(made.status).toBe(201);
    const { record } = made.json() as { record: { expiresAt: number } };
    expect(Math.abs(record.expiresAt - Date.now() - 86_400_000)).toBeLessThan(60_000);
    const refused = await create("/unlimited", "api-keys:manage");
    expect([refused.status, refused.json()]).toEqual([
      403,
      expect.objectContaining({ detail: expect.stringContaining("lifetime") }),
    ]);
    expect((await server.send("/unlimited", { headers: { "X-Scopes": "api-keys:manage" } })).status).toBe(200);
    await server.close();
    await security.close();
  });
});
