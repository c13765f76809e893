// The packages an Express app is secured with, wired as their READMEs say, and what they leave to the app: a host check,
// a table of API keys, the reading of tokens.
import { createServer } from "node:http";
import cors from "cors";
import express from "express";
import { rateLimit } from "express-rate-limit";
import session from "express-session";
import helmet from "helmet";
import jwt from "jsonwebtoken";
import {
  CHALLENGE,
  claims,
  CORS,
  HELMET,
  homeMadeKeys,
  HOST,
  INVALID_CREDENTIALS,
  ISSUER,
  MISSING_CREDENTIALS,
  PERMISSIONS_POLICY,
  RATE_LIMITED,
  SECRET,
  serve,
  SESSION_SECONDS,
  settings,
  SIGNING_KEY,
  UNTRUSTED_HOST,
  USER,
  VERIFYING_KEY,
  WINDOW_SECONDS,
} from "./common.mjs";

const apiKeys = homeMadeKeys();
const allowedHosts = new Set([HOST]);
const app = express();
app.set("trust proxy", 1);

app.use(helmet(HELMET));
app.use((_req, res, next) => {
  res.setHeader("Permissions-Policy", PERMISSIONS_POLICY);
  next();
});
app.use((req, res, next) => {
  if (allowedHosts.has(req.hostname)) next();
  else res.status(400).json(UNTRUSTED_HOST);
});
app.use(
  cors({
    origin: CORS.origins,
    credentials: true,
    methods: CORS.methods,
    allowedHeaders: CORS.allowedHeaders,
    exposedHeaders: CORS.exposedHeaders,
    maxAge: CORS.maxAge,
  }),
);
app.use(
  rateLimit({
    windowMs: WINDOW_SECONDS * 1000,
    limit: settings.limit,
    standardHeaders: "draft-8",
    legacyHeaders: false,
    ipv6Subnet: 56,
    message: RATE_LIMITED,
  }),
);
app.use(
  session({
    name: "__Host-session",
    secret: SECRET,
    resave: false,
    saveUninitialized: false,
    cookie: { path: "/", httpOnly: true, secure: true, sameSite: "lax", maxAge: SESSION_SECONDS * 1000 },
  }),
);
app.use((req, res, next) => {
  const key = req.get("X-API-Key");
  const [scheme, token] = req.get("Authorization")?.split(" ") ?? [];
  if (key !== undefined) {
    const owner = apiKeys.ownerOf(key);
    if (owner === undefined) return res.set("WWW-Authenticate", CHALLENGE).status(401).json(INVALID_CREDENTIALS);
    req.user = owner;
  } else if (scheme === "Bearer") {
    try {
      req.user = jwt.verify(token, VERIFYING_KEY, {
        algorithms: [settings.algorithm],
        issuer: ISSUER,
        audience: ISSUER,
      }).sub;
    } catch {
      return res.set("WWW-Authenticate", CHALLENGE).status(401).json(INVALID_CREDENTIALS);
    }
  } else if (req.session.userId !== undefined) {
    req.user = req.session.userId;
  }
  next();
});

app.get("/hello", (_req, res) => {
  res.json({ hello: "world" });
});
app.get("/me", requireUser, (req, res) => {
  res.json({ hello: req.user });
});
app.post("/login", (req, res, next) => {
  req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.userId = USER;
    res.sendStatus(204);
  });
});

function requireUser(req, res, next) {
  if (req.user !== undefined) next();
  else res.set("WWW-Authenticate", CHALLENGE).status(401).json(MISSING_CREDENTIALS);
}

serve(createServer(app), {
  apiKey: apiKeys.key,
  badKey: apiKeys.badKey,
  jwt: jwt.sign(claims(), SIGNING_KEY, { algorithm: settings.algorithm }),
});
