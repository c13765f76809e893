import express, { type ErrorRequestHandler } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { apiKeyAuth, ApiKeyService, applySecurity, type SecurityEvent } from "portcullis";
import { ManualClock } from "../support/manual-clock.js";
import { serve } from "../support/serve.js";

const SECRET = "q7dS1uY0pXk3Vw8ZrT5nB2mC9eFgHjLa";
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function secured(clock = new ManualClock(), mode: "enforce" | "report" = "enforce") {
  const app = express();
  const security = applySecurity(
    app,
    {
      secretKey: SECRET,
      debug: true,
      session: {},
      apiKeys: { hash: "hmac-sha256", mode },
      jwt: { issuer: "https://issuer.example" },
    },
    { clock },
  );
  const all: SecurityEvent[] = [];
  const accepted: SecurityEvent[] = [];
  security.events.on("*", (event) => void all.push(event));
  security.events.on("portcullis_credential_accepted", (event) => void accepted.push(event));
  app.post("/login", async (req, res) => {
    await security.logIn(req, { id: "ada" });
    res.sendStatus(204);
  });
  app.get("/me", (req, res) => void res.json({ id: req.principal?.id ?? null }));
  app.use(((_error, _req, res, _next) => void res.status(500).send("the app's own")) as ErrorRequestHandler);
  await security.ready();
  const server = await serve(app);
  closing.push(
    () => server.close(),
    () => security.close(),
  );
  return { security, server, all, accepted };
}

describe("a request with a valid credential", () => {
  it("is reported with the kind of its credential, to listeners for that event by name", async () => {
    const { security, server, all, accepted } = await secured();
    const { key, record } = await security.apiKeys.create({ ownerId: "ada", name: "k" });
    const { accessToken } = await security.jwt.issue("ada");
    const login = await server.send("/login", { method: "POST" });
    const cookie = String(login.headers["set-cookie"]).split(";")[0] ?? "";
    const proofs: [name: string, value: string][] = [
      ["X-API-Key", key],
      ["Authorization", `Bearer ${accessToken}`],
      ["Cookie", cookie],
    ];
    for (const [name, value] of proofs) {
      expect((await server.send("/me", { headers: { [name]: value } })).text).toBe('{"id":"ada"}');
    }
    expect(accepted.map(({ source, level, subject, path }) => [source, level, subject, path])).toEqual(
      ["api-key", "jwt", "session"].map((kind) => [kind, "INFO", "ada", "/me"]),
    );
    expect(accepted[0]?.credentialId).toBe(record.id);
    expect(all.filter(({ event }) => event === "portcullis_credential_accepted")).toEqual([]);
    const said = JSON.stringify(accepted);
    for (const secret of [key, accessToken, cookie]) expect(said).not.toContain(secret);
  });

  it("is not reported when its credential is missing or invalid", async () => {
    const { server, accepted } = await secured();
    expect((await server.send("/me")).text).toBe('{"id":null}');
    expect((await server.send("/me", { headers: { "X-API-Key": "mcp_wrong" } })).status).toBe(401);
    expect((await server.send("/me", { headers: { Authorization: "Bearer a.b.c" } })).status).toBe(401);
    expect(accepted).toEqual([]);
  });
});

describe("a credential beside another one", () => {
  it("is reported only where the request went on as its owner", async () => {
    for (const [mode, status] of [
      ["enforce", 400],
      ["report", 200],
    ] as const) {
      const app = express();
      const service = new ApiKeyService({ hash: "hmac-sha256", secret: SECRET });
      app.use(apiKeyAuth(service));
      const security = applySecurity(app, { secretKey: `${SECRET}2`, debug: true, session: { mode } });
      app.post("/login", async (req, res) => {
        await security.logIn(req, { id: "ada" });
        res.sendStatus(204);
      });
      app.get("/me", (req, res) => void res.json({ id: req.principal?.id ?? null }));
      const server = await serve(app);
      closing.push(
        () => server.close(),
        () => security.close(),
        () => service.close(),
      );
      const cookie =
        String((await server.send("/login", { method: "POST" })).headers["set-cookie"]).split(";")[0] ?? "";
      const { key } = await service.create({ ownerId: "bob", name: "k" });
      const accepted: unknown[] = [];
      security.events.on("portcullis_credential_accepted", ({ subject }) => void accepted.push(subject));
      expect((await server.send("/me", { headers: { Cookie: cookie } })).status).toBe(200);
      expect((await server.send("/me", { headers: { Cookie: cookie, "X-API-Key": key } })).status).toBe(status);
      expect(accepted).toEqual(["ada"]);
    }
  });

  it("is reported where a key over its limit passes because the layer is in report mode", async () => {
    const { security, server, accepted } = await secured(new ManualClock(), "report");
    const { key } = await security.apiKeys.create({
      ownerId: "bob",
      name: "k",
      rateLimit: { limit: 1, windowSeconds: 60 },
    });
    for (let use = 1; use <= 2; use += 1)
      expect((await server.send("/me", { headers: { "X-API-Key": key } })).text).toBe('{"id":"bob"}');
    expect(accepted.map(({ subject }) => subject)).toEqual(["bob", "bob"]);
  });
});

describe("an unexpected error in a layer", () => {
  it("is reported even when reading the request throws, and the nonce still exists", async () => {
    const app = express();
    app.use((req, _res, next) => {
      Object.defineProperty(req, "ip", {
        get() {
          throw new Error("no address");
        },
      });
      next();
    });
    // The app is one that puts a middleware before us, which a router may do.
    const security = applySecurity(app, { debug: true });
    const all: SecurityEvent[] = [];
    security.events.on("*", (event) => void all.push(event));
    app.use(((error: Error, _req, res, _next) =>
      res.status(500).send(`${error.message}, ${typeof res.locals["cspNonce"]}`)) as ErrorRequestHandler);
    const server = await serve(app);
    closing.push(
      () => server.close(),
      () => security.close(),
    );
    expect((await server.send("/")).text).toBe("no address, string");
    expect(all.filter(({ event }) => event === "portcullis_layer_failed")).toMatchObject([
      { source: "pipeline", reason: "unexpected-error" },
    ]);
  });

  it("is reported, and passed to the app's error handling", async () => {
    const clock = new ManualClock();
    const { server, all } = await secured(clock);
    expect((await server.send("/me")).status).toBe(200);
    expect(all.filter(({ event }) => event === "portcullis_layer_failed")).toEqual([]);
    clock.monotonic = () => {
      throw new Error("secret detail");
    };
    const answer = await server.send("/me");
    expect([answer.status, answer.text]).toEqual([500, "the app's own"]);
    expect(answer.headers["content-security-policy"]).toBeDefined();
    expect(all.filter(({ event }) => event === "portcullis_layer_failed")).toMatchObject([
      { level: "CRITICAL", source: "pipeline", reason: "unexpected-error", method: "GET", path: "/me" },
    ]);
    expect(JSON.stringify(all)).not.toContain("secret detail");
  });
});
