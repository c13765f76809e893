import express, { type Express } from "express";
import { applySecurity, type Security, type SecuritySettings } from "portcullis";
import { z } from "zod";
import { page } from "./page.js";

const loginBody = z.strictObject({ username: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/) });

export interface Quickstart {
  app: Express;
  security: Security<SecuritySettings & { apiKeys: object; jwt: object; session: object }>;
}

/** What differs from the demo, for a copy that runs elsewhere or is measured. */
export interface Deployment {
  /** Whether browsers reach it over plain http on loopback. Off, cookies are Secure and HSTS is sent. */
  debug?: boolean;
  /** The names it answers for; loopback when `debug` is on. */
  trustedHosts?: string[];
  /** Requests a minute from one address, in all and to log in. */
  limit?: number;
  loginLimit?: number;
}

/** An app with people in browsers (sessions, a page) and programs (API keys, JWT). */
export function createQuickstart(
  database: string,
  secretKey: string,
  { debug = true, trustedHosts, limit = 100, loginLimit = 5 }: Deployment = {},
): Quickstart {
  const app = express();

  const security = applySecurity(app, {
    secretKey,
    debug, // plain http on loopback: Secure cookies and HSTS are off, nothing else
    trustedHosts,
    database,
    headers: { contentSecurityPolicy: { directives: { "script-src": ["'nonce'"], "style-src": ["'nonce'"] } } },
    cors: { origins: ["https://app.example.com"], credentials: true },
    rateLimit: { limit, windowSeconds: 60 },
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
  const logins = security.rateLimit({ name: "login", limit: loginLimit, windowSeconds: 60 });
  app.post(
    "/login",
    logins,
    express.json({ limit: "1kb" }),
    express.urlencoded({ extended: false, limit: "1kb" }),
    async (req, res) => {
      const body = loginBody.safeParse(req.body);
      if (!body.success) {
        res.status(400).json({
          error: 'Send {"username":"…"} of letters, digits, dots, dashes or underscores, as JSON or as a form.',
        });
        return;
      }
      await security.logIn(req, { id: body.data.username, scopes: ["read", "orders:*"] });
      res.json({ message: `Welcome, ${body.data.username}!` });
    },
  );

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

  app.get("/", (_req, res) => {
    res.redirect("/page");
  });

  app.get("/page", (_req, res) => {
    res.type("html").send(page((res.locals as { cspNonce: string }).cspNonce));
  });

  return { app, security };
}
