import express, { type Express } from "express";
import { applySecurity, type Security, type SecuritySettings } from "portcullis";
import { z } from "zod";
import { page } from "./page.js";

const loginBody = z.strictObject({ username: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/) });

export interface Quickstart {
  app: Express;
  security: Security<SecuritySettings & { apiKeys: object; jwt: object; session: object }>;
}

/** An app with people in browsers (sessions, a page) and programs (API keys, JWT). */
export function createQuickstart(database: string, secretKey: string): Quickstart {
  const app = express();

  const security = applySecurity(app, {
    secretKey,
    debug: true, // plain http on loopback: Secure cookies and HSTS are off, nothing else
    database,
    headers: { contentSecurityPolicy: { directives: { "script-src": ["'self'", "'nonce'"], "style-src": ["'self'", "'nonce'"] } } },
    cors: { origins: ["https://app.example.com"], credentials: true },
    rateLimit: { limit: 100, windowSeconds: 60 },
    session: {},
    apiKeys: {},
    jwt: {},
  });

  app.get("/public", (_req, res) => {
    res.json({ message: "Anyone may read this." });
  });

  app.get("/protected", security.requireApiKey({ scopes: ["read"] }), (req, res) => {
    res.json({ message: `Hello, ${req.principal?.id}!` });
  });

  // Five attempts a minute for each address. A real app checks a password here.
  const loginLimit = security.rateLimit({ name: "login", limit: 5, windowSeconds: 60 });
  app.post("/login", loginLimit, express.json({ limit: "1kb" }), async (req, res) => {
    const body = loginBody.safeParse(req.body);
    if (!body.success) {
      res.status(400).json({ error: 'Send {"username":"…"} of letters, digits, dots, dashes or underscores, as Content-Type: application/json.' });
      return;
    }
    await security.logIn(req, { id: body.data.username, scopes: ["read", "orders:*"] });
    res.json({ message: `Welcome, ${body.data.username}!` });
  });

  app.post("/logout", security.requireSession(), async (req, res) => {
    await security.logOut(req, res);
    res.status(204).end();
  });

  app.get("/me", security.requireSession(), (req, res) => {
    res.json({ id: req.principal?.id, scopes: req.principal?.scopes });
  });

  app.post("/token", security.requireSession(), async (req, res) => {
    const { id, scopes } = req.principal ?? { id: "", scopes: [] };
    res.set("Cache-Control", "no-store").json(await security.jwt.issue(id, { scopes }));
  });

  app.get("/jwt-protected", security.requireJwt({ scopes: ["read"] }), (req, res) => {
    res.json({ message: `Hello, ${req.principal?.id}!` });
  });

  app.use("/tokens", security.tokenRoutes());
  app.use("/api-keys", security.apiKeyRoutes());

  app.get("/page", (_req, res) => {
    res.type("html").send(page((res.locals as { cspNonce: string }).cspNonce));
  });

  return { app, security };
}
