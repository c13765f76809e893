import { setTimeout as sleep } from "node:timers/promises";
import express, { type Express, type NextFunction, type Request, type Response } from "express";
import { applySecurity, type Security, type SecuritySettings } from "portcullis";
import { z } from "zod";

const loginBody = z.strictObject({ username: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/) });

/** How long one order takes, in milliseconds: long enough to be caught inside a process that dies. */
const ORDER_MS = 700;

export interface FleetAppSettings {
  /** Which process this is; it says so in its answers. */
  name: string;
  redis: string;
  redisPrefix: string;
  database: string;
  /** How long a request waits for a store, in milliseconds. */
  storeTimeoutMs: number;
  /** The same in every process: one signs, the other verifies. */
  secretKey: string;
}

export interface FleetApp {
  app: Express;
  security: Security<SecuritySettings & { apiKeys: object; jwt: object; session: object }>;
}

/** The app, as each process runs it. Only `redis`, `database` and `trustProxy` tell it from an app of one process. */
export function createFleetApp({
  name,
  redis,
  redisPrefix,
  database,
  storeTimeoutMs,
  secretKey,
}: FleetAppSettings): FleetApp {
  const app = express();

  const security = applySecurity(app, {
    secretKey,
    debug: true, // plain http on loopback: Secure cookies and HSTS are off, nothing else
    trustProxy: 1, // the proxy in front of all of them; it writes the last address of X-Forwarded-For
    redis,
    redisPrefix,
    database,
    rateLimit: { limit: 10_000, windowSeconds: 60, storeTimeoutMs },
    session: { storeTimeoutMs },
    apiKeys: { hash: "hmac-sha256", storeTimeoutMs },
    jwt: { storeTimeoutMs },
  });

  app.get("/", (_req, res) => {
    res.json({ answeredBy: name });
  });

  // Twenty a minute for each address, over all processes together.
  const greetingLimit = security.rateLimit({ name: "greeting", limit: 20, windowSeconds: 60 });
  app.get("/greeting", greetingLimit, (_req, res) => {
    res.json({ message: "Hello!", answeredBy: name });
  });

  // A real app checks a password here.
  const loginLimit = security.rateLimit({ name: "log-in", limit: 10, windowSeconds: 60 });
  app.post("/log-in", loginLimit, express.json({ limit: "1kb" }), async (req, res) => {
    const body = loginBody.safeParse(req.body);
    if (!body.success) {
      res.status(400).json({
        error:
          'Send {"username":"…"} of letters, digits, dots, dashes or underscores, as Content-Type: application/json.',
      });
      return;
    }
    await security.logIn(req, { id: body.data.username, scopes: ["orders"] });
    res.json({ message: `Welcome, ${body.data.username}!`, answeredBy: name });
  });

  app.post("/log-out", security.requireSession(), async (req, res) => {
    await security.logOut(req, res);
    res.status(204).end();
  });

  app.get("/me", security.requireSession(), (req, res) => {
    res.json({ id: req.principal?.id, answeredBy: name });
  });

  app.post("/token", security.requireSession(), async (req, res) => {
    const { id, scopes } = req.principal ?? { id: "", scopes: [] };
    res.set("Cache-Control", "no-store").json(await security.jwt.issue(id, { scopes }));
  });

  // For programs: by an API key or an access token.
  const ordersGuard = security.requireAuth({ scopes: ["orders"], kinds: ["api-key", "jwt"] });
  app.get("/orders", ordersGuard, (req, res) => {
    res.json({ ordersOf: req.principal?.id, by: req.principal?.kind, answeredBy: name });
  });
  app.post("/orders", ordersGuard, async (_req, res) => {
    await sleep(ORDER_MS);
    res.status(201).json({ message: "Ordered.", answeredBy: name });
  });

  app.use("/api-keys", security.apiKeyRoutes());
  app.use("/tokens", security.tokenRoutes());

  // logIn and logOut reject with `status` 503 while Redis is away; without this Express answers with an HTML page.
  app.use((error: { status?: number }, _req: Request, res: Response, next: NextFunction) => {
    if (res.headersSent) return next(error);
    if (error.status === undefined) console.error(error);
    res
      .status(error.status ?? 500)
      .json({ error: error.status === 503 ? "Not now. Try again in a moment." : "This did not work." });
  });

  return { app, security };
}
