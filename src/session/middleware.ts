import type { Request, Response } from "express";
import type { Middleware } from "../core/middleware.js";
import type { ExpressSessionStore } from "../stores/express-session.js";
import type { Layer } from "../core/layer.js";
import { standalone } from "../core/pipeline.js";
import { type PartDependencies, partRuntime, type Runtime } from "../core/runtime.js";
import type { Secret } from "../core/secret.js";
import { warnOfMilliseconds } from "../settings/durations.js";
import { SettingsError } from "../settings/errors.js";
import { parseFactory } from "../settings/object.js";
import { LocalCutOffs, type SessionCutOffs } from "../stores/revocations/session-cut-offs.js";
import { MemorySessionStore } from "../stores/memory/session-store.js";
import { attachSession, namesSession } from "./attach-session.js";
import { timePolicy } from "./decide.js";
import { ExpressSessionAdapter, type SessionContext } from "./express-session.js";
import { FormerSessions } from "./former-sessions.js";
import { logIn, logOut, type LogInAs, type LogInSettings, type LogOutSettings } from "./log-in.js";
import { boundSession } from "./request-properties.js";
import { PrincipalCutOffs } from "./principal-cut-offs.js";
import { PrincipalSessions, type SessionDirectory } from "./principal-sessions.js";
import { SessionCookie } from "./session-cookie.js";
import { SessionRepository } from "./session-repository.js";
import { debugContradictions, sessionSchema, type ResolvedSessionSettings, type SessionSettings } from "./settings.js";
import { signingKeys } from "./signing-keys.js";

export interface SessionLayer extends Layer, SessionDirectory {
  logIn(req: Request, who: LogInAs, options?: LogInSettings): Promise<void>;
  logOut(req: Request, res: Response, options?: LogOutSettings): Promise<void>;
  /** Whether the session of a request is in force still, in any process. Never rejects. */
  isInForce(req: Request): Promise<boolean>;
  /** For `security.revokeAll`: writes a cut-off. @throws StoreUnavailableError (rejects) */
  cutOff(principalId: string, keep: string | undefined): Promise<void>;
  /**
   * For `security.revokeAll`, after `cutOff`: ends the sessions in the store. Returns their number; `undefined` when that
   * is not known in time.
   *
   * @throws StoreUnavailableError (rejects) when that fails and the cut-off holds in this process alone
   */
  endStored(principalId: string, keep: string | undefined): Promise<number | undefined>;
}

export interface SessionDependencies {
  /** The root secret; a key for sessions is derived from it when `secret` is not set. */
  readonly secretKey?: readonly Secret[] | undefined;
  /** The store used when the settings name none. Its creator closes it. */
  readonly store?: ExpressSessionStore | undefined;
  /** The cut-offs that all processes share. Default: those of this process. */
  readonly cutOffs?: SessionCutOffs | undefined;
  /**
   * Whether sessions are loaded before the rate limits are checked, because one of the limits counts by principal.
   * Otherwise loading a session is costly work that the limits come before.
   */
  readonly isBeforeLimits?: boolean;
}

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
  const keys = signingKeys(options.secret, deps.secretKey);
  const secure = !runtime.debug && options.secure !== false;
  const cookie = new SessionCookie(options, secure, keys);
  const plainCookie = secure && options.secure === "auto" ? new SessionCookie(options, false, keys) : undefined;
  const given = options.store ?? deps.store;
  const store = given ?? new MemorySessionStore({ maxSessions: options.maxSessions, clock: runtime.clock });
  const policy = timePolicy(options.maxAge, options.absoluteMaxAge);
  const cutOffs = new PrincipalCutOffs(
    deps.cutOffs ?? new LocalCutOffs(runtime.clock),
    runtime,
    options.storeTimeoutMs,
  );
  const stored = new SessionRepository(store, cookie, policy, runtime, options.storeTimeoutMs, cutOffs);
  const adapter = new ExpressSessionAdapter(stored);
  if (options.migrateFrom !== undefined && stored.now() >= options.migrateFrom.until) {
    process.emitWarning(
      "session.migrateFrom has no effect: its `until` is in the past, so old cookies are not read. Remove migrateFrom, or set a later date.",
      { code: "PORTCULLIS_MIGRATION" },
    );
  }
  warnOfMilliseconds("session.maxAge", options.maxAge);
  if (options.absoluteMaxAge !== options.maxAge) warnOfMilliseconds("session.absoluteMaxAge", options.absoluteMaxAge);
  const looksBack = options.migrateFrom !== undefined || runtime.debug;
  const former = looksBack ? new FormerSessions(options.migrateFrom, runtime.debug, cookie, keys, stored) : undefined;
  const context: SessionContext = { options, runtime, cookie, plainCookie, stored, adapter, former };
  const ofPrincipals = new PrincipalSessions(stored, runtime, options.storeTimeoutMs);
  const onExpired = (ended: {
    sid: string;
    createdAt: number;
    seenAt: number;
    maxAgeMs: number | undefined;
    principalId: string | undefined;
  }): void => stored.announceExpiry(ended.sid, ended, ended.principalId);
  if (store instanceof MemorySessionStore) store.on("expired", onExpired);

  return {
    id: "session",
    mode: options.mode,
    run: attachSession(context),
    ...(deps.isBeforeLimits === true ? {} : { isCostly: (req) => namesSession(context, req) }),
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
    isInForce: async (req) => {
      const host = boundSession(req)?.opened;
      return (
        host?.storedId !== undefined && host.metadata !== undefined && stored.isInForce(host.storedId, host.metadata)
      );
    },
    cutOff: async (principalId, keep) => cutOffs.end(principalId, keep),
    endStored: async (principalId, keep) => ofPrincipals.endAllBut(principalId, keep, deps.cutOffs !== undefined),
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
export function sessions(settings: SessionSettings, deps?: PartDependencies): Middleware {
  const runtime = partRuntime(deps);
  return standalone([createSession(parseFactory("sessions", sessionSchema, settings ?? {}), runtime)], runtime);
}

function description(
  { options, cookie, plainCookie }: SessionContext,
  store: ExpressSessionStore,
  inMemory: boolean,
): Record<string, unknown> {
  const { maxAge, absoluteMaxAge, cookieLifetime, sameSite, domain, path, partitioned } = options;
  const { migrateFrom, storeTimeoutMs, maxSessions, mode } = options;
  return {
    cookieName: cookie.name,
    secure: plainCookie === undefined ? cookie.secure : "auto",
    maxAge,
    absoluteMaxAge,
    cookieLifetime,
    sameSite,
    ...(domain === undefined ? {} : { domain }),
    path,
    partitioned,
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
