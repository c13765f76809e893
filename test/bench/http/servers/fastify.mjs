// Fastify. `bare`: two routes; `plugins`: with its plugins, wired as their READMEs say, and the same home-made parts.
import fastifyCookie from "@fastify/cookie";
import fastifyCors from "@fastify/cors";
import fastifyHelmet from "@fastify/helmet";
import fastifyRateLimit from "@fastify/rate-limit";
import fastifySession from "@fastify/session";
import { createSigner, createVerifier } from "fast-jwt";
import Fastify from "fastify";
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

const app = settings.variant === "bare" ? bare() : await secured();

function bare() {
  const fastify = Fastify();
  fastify.options("/hello", (_request, reply) => reply.code(204).send());
  fastify.get("/hello", () => ({ hello: "world" }));
  fastify.get("/me", () => ({ hello: USER }));
  return { fastify, credentials: {} };
}

async function secured() {
  const apiKeys = homeMadeKeys();
  const allowedHosts = new Set([HOST]);
  // What @fastify/jwt is made of.
  const verify = createVerifier({
    key: VERIFYING_KEY,
    algorithms: [settings.algorithm],
    allowedIss: ISSUER,
    allowedAud: ISSUER,
  });
  // It takes no number of hops any more, as a socket cannot tell how many there are.
  const fastify = Fastify({ trustProxy: "127.0.0.1" });

  await fastify.register(fastifyHelmet, HELMET);
  fastify.addHook("onRequest", (request, reply, done) => {
    reply.header("Permissions-Policy", PERMISSIONS_POLICY);
    if (allowedHosts.has(request.hostname)) done();
    else reply.code(400).send(UNTRUSTED_HOST);
  });
  await fastify.register(fastifyCors, {
    origin: CORS.origins,
    credentials: true,
    methods: CORS.methods,
    allowedHeaders: CORS.allowedHeaders,
    exposedHeaders: CORS.exposedHeaders,
    maxAge: CORS.maxAge,
  });
  await fastify.register(fastifyRateLimit, {
    max: settings.limit,
    timeWindow: WINDOW_SECONDS * 1000,
    enableDraftSpec: true,
    errorResponseBuilder: () => ({ ...RATE_LIMITED, statusCode: 429 }),
  });
  await fastify.register(fastifyCookie);
  await fastify.register(fastifySession, {
    cookieName: "__Host-session",
    secret: SECRET,
    saveUninitialized: false,
    rolling: false,
    cookie: { path: "/", httpOnly: true, secure: true, sameSite: "lax", maxAge: SESSION_SECONDS * 1000 },
  });
  fastify.decorateRequest("user", undefined);
  fastify.addHook("preHandler", (request, reply, done) => {
    const key = request.headers["x-api-key"];
    const [scheme, token] = request.headers.authorization?.split(" ") ?? [];
    if (key !== undefined) {
      request.user = apiKeys.ownerOf(key);
      if (request.user === undefined)
        return void reply.header("WWW-Authenticate", CHALLENGE).code(401).send(INVALID_CREDENTIALS);
    } else if (scheme === "Bearer") {
      try {
        request.user = verify(token).sub;
      } catch {
        return void reply.header("WWW-Authenticate", CHALLENGE).code(401).send(INVALID_CREDENTIALS);
      }
    } else {
      request.user = request.session.userId;
    }
    done();
  });

  fastify.get("/hello", () => ({ hello: "world" }));
  fastify.get(
    "/me",
    {
      preHandler: (request, reply, done) => {
        if (request.user === undefined) reply.header("WWW-Authenticate", CHALLENGE).code(401).send(MISSING_CREDENTIALS);
        else done();
      },
    },
    (request) => ({ hello: request.user }),
  );
  fastify.post("/login", async (request, reply) => {
    await request.session.regenerate();
    request.session.userId = USER;
    return reply.code(204).send();
  });
  const sign = createSigner({ key: SIGNING_KEY, algorithm: settings.algorithm });
  return { fastify, credentials: { apiKey: apiKeys.key, badKey: apiKeys.badKey, jwt: sign(claims()) } };
}

await app.fastify.listen({ port: 0, host: "127.0.0.1" });
serve(app.fastify.server, app.credentials);
