// One process of a fleet: the settings come as JSON, the port goes out on the first line. Ends when its input ends.
import { setTimeout as sleep } from "node:timers/promises";
import express, { type Request, type Response, type RequestHandler } from "express";
import { applySecurity, type SecuritySettings } from "../../src/index.js";

const settings = JSON.parse(process.argv[2] ?? "{}") as SecuritySettings;
const asked = (value: unknown): string => String(value);
const does =
  (work: (req: Request, res: Response) => Promise<unknown>): RequestHandler =>
  (req, res, next) => {
    work(req, res).then((body) => void (res.headersSent || res.json(body ?? {})), next);
  };

const app = express();
const security = applySecurity(app, {
  debug: true,
  headers: false,
  rateLimit: false,
  secretKey: "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud",
  session: { storeTimeoutMs: 2000 },
  // The tests try keys that have ended, more often than guesses are allowed.
  apiKeys: { cacheSeconds: 60, storeTimeoutMs: 5000, failures: { limit: 10_000 } },
  jwt: { storeTimeoutMs: 5000 },
  ...settings,
});
const { apiKeys, jwt } = security;
if (apiKeys === undefined || jwt === undefined) throw new Error("the members of this fleet have keys and tokens");
const seen: string[] = [];
security.events.on("*", ({ event, source }) => seen.push(`${event} ${source}`));
process.on("unhandledRejection", (error) => seen.push(`unhandled ${String(error)}`));

app.get("/who", (req, res) => void res.json({ id: req.principal?.id ?? null }));
app.post(
  "/in/:id",
  does((req) => security.logIn(req, { id: asked(req.params.id) })),
);
app.post(
  "/out",
  does((req, res) => security.logOut(req, res)),
);
app.post(
  "/out-everywhere/:id",
  does(async (req) => ({ ended: await security.sessions?.end(asked(req.params.id)) })),
);
app.get(
  "/sessions/:id",
  does(async (req) => security.sessions?.list(asked(req.params.id))),
);
app.post(
  "/slow-save/:ms",
  does(async (req) => {
    Object.assign(req.session, { saved: Date.now() });
    process.stdout.write("saving\n");
    await sleep(Number(req.params.ms));
  }),
);
app.post(
  "/keys",
  does((req) => apiKeys.create({ ownerId: asked(req.query.owner ?? "owner"), name: "key" })),
);
app.post(
  "/keys/:id/revoke",
  does(async (req) => ({ done: await apiKeys.revoke(asked(req.params.id)) })),
);
app.post(
  "/keys/:id/rotate",
  does(async (req) =>
    apiKeys.rotate(asked(req.params.id)).then(
      ({ key }) => ({ key }),
      (error: { code: string }) => ({ error: error.code }),
    ),
  ),
);
app.post(
  "/keys/:id/scopes/:scope",
  does((req) => apiKeys.update(asked(req.params.id), { scopes: [asked(req.params.scope)] })),
);
app.post(
  "/end-all/:id",
  does((req) => security.revokeAll(asked(req.params.id), { reason: "asked" })),
);
app.post(
  "/end-all-but-this/:id",
  does((req) => security.revokeAll(asked(req.params.id), { keep: req.principal, reason: "asked" })),
);
app.get("/orders", security.requireApiKey({ scopes: ["orders:write"] }), (_req, res) => void res.json({}));
app.get("/by-key", security.requireApiKey(), (_req, res) => void res.json({}));
app.post(
  "/tokens/:subject",
  does((req) => jwt.issue(asked(req.params.subject))),
);
app.post(
  "/tokens/:subject/end",
  does((req) => jwt.revokeSubject(asked(req.params.subject))),
);
app.post(
  "/revoke",
  does(async (req) => ({ done: await jwt.revokeAccessToken(asked(req.query.token)) })),
);
app.post(
  "/revoke-family",
  does(async (req) => ({ done: await jwt.revokeFamily(asked(req.query.token)) })),
);
app.post(
  "/refresh",
  does((req) =>
    jwt.refresh(asked(req.query.token)).then(
      ({ refreshToken }) => ({ refreshToken }),
      (error: { code: string }) => ({ error: error.code }),
    ),
  ),
);
app.get("/by-token", security.requireJwt(), (_req, res) => void res.json({}));
app.get("/events", (_req, res) => void res.json(seen));
app.get("/describe", (_req, res) => void res.json(security.describe()));
app.use((error: { status?: number; code?: string; message?: string }, _req: Request, res: Response, _next: unknown) => {
  res.status(error.code === "store-unavailable" ? 503 : (error.status ?? 500)).json({ error: error.message });
});

await security.ready();
const server = app.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.stdout.write(`port ${typeof address === "object" ? address?.port : ""}\n`);
});
process.stdin.resume().on("end", () => {
  server.closeAllConnections();
  server.close(() => {
    // After this the process must end by itself.
    void security.close();
  });
});
