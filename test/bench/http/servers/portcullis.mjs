// portcullis. `same`: the protections that express-by-hand.mjs wires; `everything`: all that there are;
// `everything-fast`: all, on a server of security.createServer.
import { createServer } from "node:http";
import express from "express";
import {
  CORS,
  HOST,
  ISSUER,
  SECRET,
  serve,
  SESSION_SECONDS,
  settings,
  SIGNING_KEY,
  USER,
  WINDOW_SECONDS,
} from "./common.mjs";

const { applySecurity } = await import(settings.portcullis ?? "portcullis");
const everything = settings.variant !== "same";
const limit = { limit: settings.limit, windowSeconds: WINDOW_SECONDS };
const app = express();

const security = applySecurity(app, {
  secretKey: SECRET,
  trustProxy: 1,
  trustedHosts: [HOST],
  cors: { ...CORS, credentials: true },
  rateLimit: everything ? { ...limit, perPrincipal: limit } : limit,
  session: { maxAge: SESSION_SECONDS },
  ...(everything ? {} : { csrf: false }),
  // Wrong keys are limited too; the scenario is about the refusal before that.
  apiKeys: { failures: { limit: 10_000, windowSeconds: 1 } },
  jwt: {
    algorithm: settings.algorithm,
    issuer: ISSUER,
    ...(settings.algorithm === "ES256" ? { privateKey: SIGNING_KEY } : {}),
  },
});

app.get("/hello", (_req, res) => {
  res.json({ hello: "world" });
});
app.get("/me", security.requireAuth(), (req, res) => {
  res.json({ hello: req.principal.id });
});
app.post("/login", async (req, res) => {
  await security.logIn(req, { id: USER });
  res.sendStatus(204);
});

await security.ready();
const { key } = await security.apiKeys.create({ ownerId: USER, name: "bench", scopes: ["read"] });
const { accessToken } = await security.jwt.issue(USER, { scopes: ["read"] });
// Form and length stay right, the checksum is wrong.
const badKey = key.replace(/^mcp_./, (start) => `mcp_${start.endsWith("A") ? "B" : "A"}`);
const server = settings.variant === "everything-fast" ? security.createServer() : createServer(app);
serve(server, { apiKey: key, badKey, jwt: accessToken });
