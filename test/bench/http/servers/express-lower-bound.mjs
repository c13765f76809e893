// What the same headers and checks cost at least on Express: one middleware written for this one configuration, nothing
// parsed that need not be, answers ready made. No library could be this; it says what is left to gain.
import { createHmac, createPublicKey, createSecretKey, randomBytes, timingSafeEqual, verify } from "node:crypto";
import { createServer } from "node:http";
import express from "express";
import jwt from "jsonwebtoken";
import {
  CHALLENGE,
  claims,
  CORS,
  homeMadeKeys,
  HOST,
  INVALID_CREDENTIALS,
  ISSUER,
  MISSING_CREDENTIALS,
  ORIGIN,
  PROTECTIVE_HEADERS,
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

const COOKIE = "__Host-session=";
const WINDOW_MS = WINDOW_SECONDS * 1000;
const POLICY = `"default";q=${settings.limit};w=${WINDOW_SECONDS}`;
const exposed = CORS.exposedHeaders.join(",");
const methods = CORS.methods.join(",");
const allowed = CORS.allowedHeaders.join(",");
const headers = Object.entries(PROTECTIVE_HEADERS);
const hosts = new Set([HOST]);
const bodies = new Map(
  [UNTRUSTED_HOST, RATE_LIMITED, INVALID_CREDENTIALS, MISSING_CREDENTIALS].map((problem) => [
    problem,
    JSON.stringify(problem),
  ]),
);
const apiKeys = homeMadeKeys();
const hmacKey = createSecretKey(Buffer.from(SECRET));
const publicKey = settings.algorithm === "ES256" ? createPublicKey(VERIFYING_KEY) : undefined;
/** @type {Map<string, { count: number, until: number }>} */
const clients = new Map();
/** @type {Map<string, { userId: string, until: number }>} */
const sessions = new Map();
const app = express();
app.disable("x-powered-by");

app.use((req, res, next) => {
  const asked = req.headers;
  for (let i = 0; i < headers.length; i += 1) res.setHeader(headers[i][0], headers[i][1]);
  if (!hosts.has(asked.host)) return refuse(res, UNTRUSTED_HOST);

  const origin = asked.origin;
  res.setHeader("Vary", "Origin");
  if (origin === ORIGIN) {
    res.setHeader("Access-Control-Allow-Origin", ORIGIN);
    res.setHeader("Access-Control-Allow-Credentials", "true");
    if (req.method === "OPTIONS" && asked["access-control-request-method"] !== undefined) {
      res.setHeader("Access-Control-Allow-Methods", methods);
      res.setHeader("Access-Control-Allow-Headers", allowed);
      res.setHeader("Access-Control-Max-Age", CORS.maxAge);
      res.statusCode = 204;
      return res.end();
    }
    res.setHeader("Access-Control-Expose-Headers", exposed);
  }

  const now = Date.now();
  const address = asked["x-forwarded-for"];
  let client = clients.get(address);
  if (client === undefined || client.until <= now)
    clients.set(address, (client = { count: 0, until: now + WINDOW_MS }));
  client.count += 1;
  const seconds = Math.ceil((client.until - now) / 1000);
  res.setHeader("RateLimit-Policy", POLICY);
  res.setHeader("RateLimit", `"default";r=${Math.max(settings.limit - client.count, 0)};t=${seconds}`);
  if (client.count > settings.limit) {
    res.setHeader("Retry-After", seconds);
    return refuse(res, RATE_LIMITED);
  }

  if (asked["x-api-key"] !== undefined) req.user = apiKeys.ownerOf(asked["x-api-key"]);
  else if (asked.authorization !== undefined) req.user = subjectOf(asked.authorization.slice(7), now);
  else if (asked.cookie !== undefined) return next((req.user = userOf(asked.cookie, now)) && undefined);
  else return next();
  if (req.user === undefined) return challenge(res, INVALID_CREDENTIALS);
  next();
});

app.get("/hello", (_req, res) => {
  res.json({ hello: "world" });
});
app.get(
  "/me",
  (req, res, next) => (req.user === undefined ? challenge(res, MISSING_CREDENTIALS) : next()),
  (req, res) => {
    res.json({ hello: req.user });
  },
);
app.post("/login", (_req, res) => {
  const id = randomBytes(24).toString("base64url");
  sessions.set(id, { userId: USER, until: Date.now() + SESSION_SECONDS * 1000 });
  res.setHeader("Set-Cookie", `${COOKIE}${id}.${signature(id)}; Path=/; HttpOnly; Secure; SameSite=Lax`);
  res.sendStatus(204);
});

function signature(text) {
  return createHmac("sha256", hmacKey).update(text).digest("base64url");
}

function equal(a, b) {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

function userOf(cookies, now) {
  const start = cookies.indexOf(COOKIE);
  if (start === -1) return undefined;
  const end = cookies.indexOf(";", start);
  const value = cookies.slice(start + COOKIE.length, end === -1 ? undefined : end);
  const dot = value.indexOf(".");
  const id = value.slice(0, dot);
  if (!equal(signature(id), value.slice(dot + 1))) return undefined;
  const session = sessions.get(id);
  if (session === undefined || session.until <= now) return undefined;
  session.until = now + SESSION_SECONDS * 1000;
  return session.userId;
}

function subjectOf(token, now) {
  const [header, payload, given] = token.split(".");
  if (given === undefined || !signed(`${header}.${payload}`, given)) return undefined;
  const { iss, aud, exp, sub } = JSON.parse(Buffer.from(payload, "base64url").toString());
  return iss === ISSUER && aud === ISSUER && exp * 1000 > now ? sub : undefined;
}

function signed(text, given) {
  if (publicKey === undefined) return equal(signature(text), given);
  return verify(
    "sha256",
    Buffer.from(text),
    { key: publicKey, dsaEncoding: "ieee-p1363" },
    Buffer.from(given, "base64url"),
  );
}

function challenge(res, problem) {
  res.setHeader("WWW-Authenticate", CHALLENGE);
  refuse(res, problem);
}

function refuse(res, problem) {
  res.statusCode = problem.status;
  res.setHeader("Content-Type", "application/problem+json");
  res.end(bodies.get(problem));
}

serve(createServer(app), {
  apiKey: apiKeys.key,
  badKey: apiKeys.badKey,
  jwt: jwt.sign(claims(), SIGNING_KEY, { algorithm: settings.algorithm }),
});
