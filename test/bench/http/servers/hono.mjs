// Hono on @hono/node-server. `bare`: two routes; `middleware`: with its own middleware and the two packages its site names.
import { serve as listen } from "@hono/node-server";
import { Hono } from "hono";
import { getCookie } from "hono/cookie";
import { cors } from "hono/cors";
import { jwt, sign } from "hono/jwt";
import { secureHeaders } from "hono/secure-headers";
import { rateLimiter } from "hono-rate-limiter";
import { MemoryStore, sessionMiddleware } from "hono-sessions";
import {
  CHALLENGE,
  claims,
  CORS,
  CSP,
  homeMadeKeys,
  HOST,
  INVALID_CREDENTIALS,
  ISSUER,
  MISSING_CREDENTIALS,
  PERMISSIONS_POLICY,
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

const { app, credentials } = settings.variant === "bare" ? bare() : await secured();
const server = listen({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, () => serve(server, credentials));

function bare() {
  const app = new Hono();
  app.options("/hello", (c) => c.body(null, 204));
  app.get("/hello", (c) => c.json({ hello: "world" }));
  app.get("/me", (c) => c.json({ hello: USER }));
  return { app, credentials: {} };
}

async function secured() {
  const apiKeys = homeMadeKeys();
  const allowedHosts = new Set([HOST]);
  const camel = (name) => name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase());
  const app = new Hono();

  app.use(
    secureHeaders({
      contentSecurityPolicy: Object.fromEntries(Object.entries(CSP).map(([name, sources]) => [camel(name), sources])),
      permissionsPolicy: Object.fromEntries(
        PERMISSIONS_POLICY.split(", ").map((part) => [camel(part.slice(0, -3)), []]),
      ),
      strictTransportSecurity: PROTECTIVE_HEADERS["Strict-Transport-Security"],
      xFrameOptions: "DENY",
      xDnsPrefetchControl: false,
      xDownloadOptions: false,
      xPermittedCrossDomainPolicies: false,
      originAgentCluster: false,
    }),
  );
  app.use(async (c, next) => (allowedHosts.has(c.req.header("host") ?? "") ? next() : c.json(UNTRUSTED_HOST, 400)));
  app.use(
    cors({
      origin: CORS.origins,
      credentials: true,
      allowMethods: CORS.methods,
      allowHeaders: CORS.allowedHeaders,
      exposeHeaders: CORS.exposedHeaders,
      maxAge: CORS.maxAge,
    }),
  );
  app.use(
    rateLimiter({
      windowMs: WINDOW_SECONDS * 1000,
      limit: settings.limit,
      standardHeaders: "draft-6",
      keyGenerator: (c) => c.req.header("x-forwarded-for") ?? "",
      message: RATE_LIMITED,
    }),
  );
  // That package begins a session, and sends a cookie, on every request it sees: to be as quiet as the others it only sees
  // requests that have one, and the log-in.
  const sessions = sessionMiddleware({
    store: new MemoryStore(),
    encryptionKey: SECRET,
    expireAfterSeconds: SESSION_SECONDS,
    sessionCookieName: "__Host-session",
    cookieOptions: { path: "/", httpOnly: true, secure: true, sameSite: "Lax", maxAge: SESSION_SECONDS },
  });
  app.use(async (c, next) =>
    c.req.path === "/login" || getCookie(c, "__Host-session") !== undefined ? sessions(c, next) : next(),
  );
  const tokens = jwt({ secret: VERIFYING_KEY, alg: settings.algorithm, verification: { iss: ISSUER, aud: ISSUER } });
  app.use(async (c, next) => {
    const key = c.req.header("x-api-key");
    if (key !== undefined) {
      const owner = apiKeys.ownerOf(key);
      if (owner === undefined) return c.json(INVALID_CREDENTIALS, 401, { "WWW-Authenticate": CHALLENGE });
      c.set("user", owner);
      return next();
    }
    if (c.req.header("authorization") !== undefined) return tokens(c, next);
    c.set("user", c.get("session")?.get("userId") ?? undefined);
    return next();
  });

  app.get("/hello", (c) => c.json({ hello: "world" }));
  app.get("/me", (c) => {
    const user = c.get("user") ?? c.get("jwtPayload")?.sub;
    return user === undefined
      ? c.json(MISSING_CREDENTIALS, 401, { "WWW-Authenticate": CHALLENGE })
      : c.json({ hello: user });
  });
  app.post("/login", (c) => {
    c.get("session").set("userId", USER);
    return c.body(null, 204);
  });
  return {
    app,
    credentials: {
      apiKey: apiKeys.key,
      badKey: apiKeys.badKey,
      jwt: await sign(claims(), SIGNING_KEY, settings.algorithm),
    },
  };
}
