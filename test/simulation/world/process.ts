import express, { type Express, type NextFunction, type Request, type RequestHandler, type Response } from "express";
import type session from "express-session";
import { newApp } from "./ask.js";
import { newOperation, within } from "./context.js";
import {
  applySecurity,
  MemoryApiKeyStore,
  MemorySessionStore,
  MemoryTokenStore,
  SlidingWindowStore,
  StoreUnavailableError,
  TokenError,
} from "./library.js";
import { whenPoolIsMade } from "./pg.js";
import { Random } from "./random.js";
import { whenClientIsMade } from "./redis.js";
import { holdTime, virtualNow } from "./virtual-time.js";

/** The settings that the invariants speak of. */
export const LIMIT = { limit: 60, windowSeconds: 10, maxClients: 64 };
/** The limit of each key that `/keys/issue` hands out. */
export const KEY_LIMIT = { limit: 5, windowSeconds: 60 };
export const GRACE_SECONDS = 10;
/**
 * Places in the stores of a process that keeps everything in memory. Limits have room for the clients of the main one,
 * for as many of the four others together, and for a tenth of them whatever the rest uses.
 */
export const PLACES = { keys: 60, tokens: 100, sessions: 60, limits: 2 * 64 + 3 * 6 };

/** More than a run has; the usual ten thousand places would be laid out anew for each process of each seed. */
const REMEMBERED = 200;

const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";

export interface ProcessOptions {
  readonly name: string;
  readonly seed: number;
  /** URL of the database; in memory without one. */
  readonly database: string | undefined;
  /** URL of the Redis that limits, revocations and sessions without a store are in. */
  readonly redis: string | undefined;
  /** In memory, or in Redis, without them. */
  readonly sessions: session.Store | undefined;
}

/** One process of a service: an app with the library on, and what it announced. */
export interface SimulatedProcess {
  readonly name: string;
  readonly app: Express;
  readonly database: string | undefined;
  /** Outages of stores it announced: when and which. */
  readonly outages: { readonly at: number; readonly source: string }[];
  /** Where it counts requests, when it counts them itself. */
  readonly limits: InstanceType<typeof SlidingWindowStore> | undefined;
  /** The stores of a process that keeps everything in memory. */
  readonly memory: ReturnType<typeof memoryStores> | undefined;
  close(): Promise<void>;
}

const memoryStores = () => ({
  keys: new MemoryApiKeyStore({ maxKeys: PLACES.keys }),
  tokens: new MemoryTokenStore({ maxTokens: PLACES.tokens }),
  sessions: new MemorySessionStore({ maxSessions: PLACES.sessions }),
});

/** By how much the clock of a process, or of Redis, may be ahead. */
export const CLOCKS_APART_MS = 4000;

/** By how much the clock of a process is ahead. */
function clockOf(name: string, seed: number): number {
  return new Random(`${seed}/${name}/clock`).between(0, CLOCKS_APART_MS);
}

type Handle = (req: Request, res: Response) => Promise<void>;

const route =
  (handle: Handle): RequestHandler =>
  (req, res, next) =>
    void handle(req, res).catch(next);
const field = (req: Request, name: string): string => (req.body as Record<string, string> | undefined)?.[name] ?? "";

export function startProcess({ name, seed, database, redis, sessions }: ProcessOptions): Promise<SimulatedProcess> {
  return within(newOperation(`${name}/background`, seed), async () => {
    const app = newApp();
    const memory = database === undefined ? memoryStores() : undefined;
    // The library loads what it needs for a database while it opens it, which takes real time.
    if (database !== undefined) whenPoolIsMade(database, holdTime());
    if (redis !== undefined) whenClientIsMade(redis, holdTime());
    const aheadMs = clockOf(name, seed);
    const clock = { now: () => Date.now() + aheadMs, monotonic: () => performance.now() };
    const limits = redis === undefined ? new SlidingWindowStore({ maxClients: LIMIT.maxClients, clock }) : undefined;
    const sessionStore = sessions ?? memory?.sessions;
    const settings = {
      debug: true,
      secretKey: SECRET,
      trustProxy: ["loopback", "10.0.0.0/8"],
      headers: false,
      csrf: false,
      rateLimit: { ...LIMIT, ...(limits === undefined ? {} : { store: limits }) },
      session: sessionStore === undefined ? {} : { store: sessionStore },
      apiKeys: { hash: "hmac-sha256", cacheSize: REMEMBERED, ...(memory === undefined ? {} : { store: memory.keys }) },
      jwt: {
        reuseGraceSeconds: GRACE_SECONDS,
        cacheSize: REMEMBERED,
        ...(memory === undefined ? {} : { store: memory.tokens }),
      },
      ...(database === undefined ? {} : { database }),
      ...(redis === undefined ? {} : { redis }),
    } as const;
    const security = applySecurity(app, settings, { clock });
    const outages: { at: number; source: string }[] = [];
    security.events.on("portcullis_store_unavailable", ({ source }) => void outages.push({ at: virtualNow(), source }));

    const body = express.json();
    app.get("/", (_req, res) => void res.json({}));
    app.get("/me", security.requireAuth(), (req, res) => void res.json({ id: req.principal?.id }));
    app.post(
      "/login",
      body,
      route(async (req, res) => {
        const isRenewal = req.principal !== undefined;
        await security.logIn(req, { id: field(req, "id") });
        res.json({ isRenewal });
      }),
    );
    app.post(
      "/logout",
      route(async (req, res) => {
        await security.logOut(req, res);
        res.json({});
      }),
    );
    app.post("/notes", body, security.requireAuth(), (req, res) => {
      Object.assign(req.session, { note: field(req, "note") });
      res.json({});
    });
    app.post(
      "/tokens/issue",
      body,
      route(async (req, res) => void res.json(await security.jwt.issue(field(req, "id"), { scopes: ["orders:read"] }))),
    );
    app.post(
      "/keys/issue",
      body,
      route(async (req, res) => {
        const made = await security.apiKeys.create({
          ownerId: field(req, "id"),
          name: field(req, "name"),
          scopes: ["orders:read", "api-keys:manage"],
          rateLimit: KEY_LIMIT,
        });
        res.status(201).json(made);
      }),
    );
    app.post(
      "/subjects/revoke",
      security.requireAuth(),
      route(async (req, res) => {
        await security.jwt.revokeSubject(req.principal?.id ?? "");
        res.json({});
      }),
    );
    app.post(
      "/everything/revoke",
      body,
      route(async (req, res) => void res.json(await security.revokeAll(field(req, "id")))),
    );
    app.post(
      "/guess",
      body,
      security.rateLimit({ name: "guesses", limit: 10, windowSeconds: 60, key: (req) => field(req, "name") }),
      (_req, res) => void res.json({}),
    );
    app.use("/tokens", security.tokenRoutes());
    app.use("/api-keys", security.apiKeyRoutes());
    app.use(answerError);

    try {
      await security.ready();
    } catch (error) {
      await security.close();
      throw error;
    }
    return { name, app, database, limits, memory, outages, close: () => security.close() };
  });
}

/** What an app does with the library's errors, as its READMEs say. */
function answerError(error: unknown, _req: Request, res: Response, _next: NextFunction): void {
  const { status, code, name } = error as { status?: unknown; code?: unknown; name?: unknown };
  const isUnavailable =
    error instanceof StoreUnavailableError ||
    (error instanceof TokenError && error.code === "store-unavailable") ||
    status === 503;
  if (isUnavailable) res.setHeader("Retry-After", "1");
  const isOfCaller = name === "ApiKeyError" || name === "TokenError";
  const known =
    code === "invalid-input" || error instanceof TypeError
      ? 400
      : isOfCaller
        ? 409
        : typeof status === "number"
          ? status
          : 500;
  res.status(isUnavailable ? 503 : known).json({ error: String(name), code: String(code) });
}
