import { createSecretKey, type KeyObject } from "node:crypto";
import type { NextFunction, Request, RequestHandler, Response } from "express";
import type session from "express-session";
import { setPrincipal } from "../core/request-events.js";
import type { Layer, RunLayer } from "../core/layer.js";
import { standalone } from "../core/pipeline.js";
import { refuse } from "../core/response/refuse.js";
import { requestContext } from "../core/request-events.js";
import type { Refusal } from "../core/response/problem.js";
import type { RequestState } from "../core/request-state.js";
import { type PartDependencies, partRuntime, type Runtime } from "../core/runtime.js";
import type { Secret } from "../core/secret.js";
import { SettingsError } from "../settings/errors.js";
import { parse } from "../settings/object.js";
import { deriveKey, GENERATE_SECRET } from "../settings/secrets.js";
import { MemorySessionStore } from "../stores/memory/session-store.js";
import { bindSession, boundSession } from "./request-properties.js";
import { readSessionCookie, timePolicy } from "./decide.js";
import { ExpressSessionAdapter, type SessionContext } from "./express-session.js";
import { FormerSessions } from "./former-sessions.js";
import { logIn, logOut, type LogInAs, type LogInSettings } from "./log-in.js";
import { PrincipalSessions, type SessionInfo } from "./principal-sessions.js";
import { RequestSession } from "./request-session.js";
import { SessionCookie } from "./session-cookie.js";
import { debugContradictions, sessionSchema, type ResolvedSessionSettings, type SessionSettings } from "./settings.js";
import { SessionRepository } from "./session-repository.js";

export { logIn, logOut, type LogInAs, type LogInSettings } from "./log-in.js";
export type { SessionInfo } from "./principal-sessions.js";

export interface SessionLayer extends Layer {
  logIn(req: Request, who: LogInAs, options?: LogInSettings): Promise<void>;
  logOut(req: Request, res: Response): Promise<void>;
  /**
   * Lists the sessions of a principal, by its id. Our stores hold at most a thousand per principal
   * (`RedisSessionStore`: 100 unless set).
   *
   * @throws SetupError (rejects) when the store has no index of principals
   * @throws StoreUnavailableError (rejects) when the store did not respond within `storeTimeoutMs`
   */
  list(principalId: string | number): Promise<SessionInfo[]>;
  /**
   * Ends one session of a principal, or all of them. Returns the number of sessions ended. The whole call must finish
   * within `storeTimeoutMs`.
   *
   * @throws SetupError (rejects) when the store has no index of principals
   * @throws StoreUnavailableError (rejects) when the store did not end one of them in time. All have been tried, and
   * this process retries until the store has ended the sessions that began before the call. Later log-ins are kept.
   */
  end(principalId: string | number, handle?: string): Promise<number>;
}

export interface SessionDependencies {
  /** The root secret; a key for sessions is derived from it when `secret` is not set. */
  readonly secretKey?: readonly Secret[] | undefined;
  /** The store used when the settings name none. Its creator closes it. */
  readonly store?: session.Store | undefined;
}

const AMBIGUOUS: Refusal = { code: "ambiguous-credentials", reason: "two-session-cookies" };
const TWO_KINDS: Refusal = { code: "ambiguous-credentials", reason: "session-and-other" };
const UNAVAILABLE: Refusal = { code: "store-unavailable", reason: "session-not-loaded", event: false };
const TWICE: Refusal = {
  code: "protection-not-run",
  reason: "second-session-middleware",
  detail: "Two session middlewares ran on this request. Keep one of them.",
};
/** The event is emitted once only: the mistake is in the app's set-up and the same for every request. */
const TWICE_AGAIN: Refusal = { ...TWICE, event: false };

/**
 * Builds the session layer from parsed options.
 *
 * @throws SettingsError when there is no secret, or the options conflict with debug
 */
export function createSession(
  options: ResolvedSessionSettings,
  runtime: Runtime,
  deps: SessionDependencies = {},
): SessionLayer {
  const contradictions = debugContradictions(options, runtime.debug);
  if (contradictions.length > 0) throw new SettingsError(contradictions);
  const keys = signingKeys(options, deps);
  const cookie = new SessionCookie(options, runtime.debug, keys);
  const given = options.store ?? deps.store;
  const store = given ?? new MemorySessionStore({ maxSessions: options.maxSessions, clock: runtime.clock });
  const policy = timePolicy(options.maxAge, options.absoluteMaxAge);
  const stored = new SessionRepository(store, cookie, policy, runtime, options.storeTimeoutMs);
  const adapter = new ExpressSessionAdapter(stored);
  if (options.migrateFrom !== undefined && stored.now() >= options.migrateFrom.until) {
    process.emitWarning(
      "session.migrateFrom has no effect: its `until` is in the past, so old cookies are not read. Remove migrateFrom, or set a later date.",
      { code: "PORTCULLIS_MIGRATION" },
    );
  }
  const looksBack = options.migrateFrom !== undefined || runtime.debug;
  const former = looksBack ? new FormerSessions(options.migrateFrom, runtime.debug, cookie, keys, stored) : undefined;
  const context: SessionContext = { options, runtime, cookie, stored, adapter, former };
  const ofPrincipals = new PrincipalSessions(stored, runtime, options.storeTimeoutMs);
  const onExpired = (ended: {
    sid: string;
    createdAt: number;
    seenAt: number;
    principalId: string | undefined;
  }): void => stored.announceExpiry(ended.sid, ended, ended.principalId);
  if (store instanceof MemorySessionStore) store.on("expired", onExpired);

  return {
    id: "session",
    mode: options.mode,
    run: sessionRun(context),
    describe: () => description(context, store, given === undefined),
    close: async () => {
      stored.close();
      if (!(store instanceof MemorySessionStore)) return;
      store.off("expired", onExpired);
      // A store that was passed in is closed by its creator.
      if (given === undefined) store.close();
    },
    logIn,
    logOut,
    list: async (principalId) => ofPrincipals.list(String(principalId)),
    end: async (principalId, handle) => ofPrincipals.end(String(principalId), handle),
  };
}

/**
 * Sessions on express-session, as standalone Express middleware. Log users in and out with `logIn` and `logOut`.
 *
 * @param deps `{ events?, clock?, onRefusal? }`, for observation and tests
 * @throws SettingsError when the settings are wrong; `secret` is required here
 *
 * @example
 * ```ts
 * import express from "express";
 * import { requireSession, sessions } from "portcullis";
 *
 * const app = express();
 * app.use(sessions({ secret: process.env.SESSION_SECRET_KEY, maxAge: 1800 }));
 * app.get("/profile", requireSession(), (req, res) => void res.json({ id: req.principal?.id }));
 * ```
 */
export function sessions(settings: SessionSettings, deps?: PartDependencies): RequestHandler {
  const runtime = partRuntime(deps);
  return standalone([createSession(parse(sessionSchema, settings ?? {}), runtime)], runtime);
}

function sessionRun(context: SessionContext): RunLayer {
  const { cookie, former, options, runtime } = context;
  let isTold = false;
  return function sessionMiddleware(req, res, next, state) {
    const outer = boundSession(req);
    if (outer?.context === context) {
      next();
      return;
    }
    if (outer !== undefined || req.session !== undefined) {
      // Two session layers would each send a cookie and overwrite the other's data.
      if (!isTold) {
        process.emitWarning(
          "Two session middlewares ran on the same request. Keep one of them. If a secured app is mounted in another one, set session: false in the inner app.",
          { code: "PORTCULLIS_SESSION" },
        );
      }
      if (!refuse(req, res, "session", isTold ? TWICE_AGAIN : TWICE, options.mode)) next();
      isTold = true;
      return;
    }
    const current = new RequestSession(context, req, res);
    bindSession(req, current);
    const verdict = readSessionCookie(req.headers.cookie, cookie.name);
    if (verdict.kind === "duplicate") {
      if (!refuse(req, res, "session", AMBIGUOUS, options.mode)) next();
      return;
    }
    const value = verdict.kind === "present" ? verdict.value : undefined;
    const oldSid = former?.find(req.headers.cookie);
    if (verdict.kind === "malformed" && oldSid === undefined) announceUnreadable(req, runtime);
    // Loading a session is costly, so the rate limits run first, unless one of them needs the session's principal.
    if (value === undefined && oldSid === undefined) next();
    else if (state.limits === undefined || state.limits.forPrincipal) loadSession(current, value, oldSid, next, state);
    else state.limits.check(() => loadSession(current, value, oldSid, next, state));
  };
}

function loadSession(
  current: RequestSession,
  value: string | undefined,
  oldSid: string | undefined,
  next: NextFunction,
  state: RequestState,
): void {
  const { req, res, context } = current;
  const {
    options: { mode },
    runtime,
  } = context;
  const earlier = req.principal;
  current.load(value, oldSid, (error) => {
    if (error != null) {
      if (!refuse(req, res, "session", UNAVAILABLE, mode)) next();
      return;
    }
    if (earlier !== undefined && req.principal !== earlier) {
      req.principal = earlier;
      if (!refuse(req, res, "session", TWO_KINDS, mode)) next();
      return;
    }
    if (req.principal?.kind === "session") setPrincipal(req, state, runtime, "session", req.principal);
    next();
  });
}

function announceUnreadable(req: Request, runtime: Runtime): void {
  runtime.events.emit("input_validation_fail", () => ({
    source: "session",
    reason: "malformed-cookie",
    ...requestContext(req),
  }));
}

/**
 * Returns the signing keys. `secret` signs directly, as in express-session; `secretKey` has other uses too, so a key is
 * derived from it.
 */
function signingKeys(
  { secret: own }: ResolvedSessionSettings,
  { secretKey = [] }: SessionDependencies,
): readonly [KeyObject, ...KeyObject[]] {
  const [first, ...rest] =
    own === undefined ? secretKey.map((secret) => deriveKey(secret, "session")) : own.map(rawKey);
  if (first !== undefined) return [first, ...rest];
  throw new SettingsError([
    {
      code: "missing-setting",
      path: "secret",
      message: "Sessions need a secret to sign their cookies.",
      remedy: `Set secret to a random secret. ${GENERATE_SECRET}`,
    },
  ]);
}

function rawKey(secret: Secret): KeyObject {
  return createSecretKey(Buffer.from(secret.reveal()));
}

function description(
  { options, cookie }: SessionContext,
  store: session.Store,
  inMemory: boolean,
): Record<string, unknown> {
  const { maxAge, absoluteMaxAge, sameSite, domain, migrateFrom, storeTimeoutMs, maxSessions, mode } = options;
  return {
    cookieName: cookie.name,
    secure: cookie.secure,
    maxAge,
    absoluteMaxAge,
    sameSite,
    ...(domain === undefined ? {} : { domain }),
    secret: "[secret]",
    ...(migrateFrom === undefined
      ? {}
      : { migrateFrom: { cookieName: migrateFrom.cookieName, until: new Date(migrateFrom.until).toISOString() } }),
    store: store.constructor.name,
    storeTimeoutMs,
    ...(inMemory ? { maxSessions } : {}),
    mode,
  };
}
