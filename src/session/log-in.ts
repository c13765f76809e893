import type { Request, Response } from "express";
import type { ProvedMethod } from "../core/authentication.js";
import { checkedIdentity } from "../core/checked-identity.js";
import { FOREIGN_ID } from "../core/foreign-ids.js";
import { InvalidInputError } from "../core/portcullis-error.js";
import { requestContext } from "../core/request-events.js";
import { reportCrossSiteLogIn } from "./cross-site-log-in.js";
import { SetupError } from "../core/setup-error.js";
import { SessionStoreFullError } from "../stores/health/store-full.js";
import { boundSession } from "./request-properties.js";
import { loginKind, type LoginKind } from "./decide.js";
import type { SessionHost } from "./express-session.js";
import { SessionEndedError } from "./errors.js";
import { mustBeAwaited } from "./must-be-awaited.js";
import { checkedOwn, logInAuthentication, siteDataOf, type SiteData } from "./log-in-options.js";
import type { RequestSession } from "./request-session.js";
import type { SessionRepository } from "./session-repository.js";
import { sessionHandle } from "./session-cookie.js";
import { stateIn } from "../core/request-state.js";
import { appData, principalOf } from "./metadata.js";

/** The user to log in. */
export interface LogInAs {
  /**
   * The user's id: a string of 1 to 255 characters, or a safe integer, which is converted to decimal text. Becomes
   * `req.principal.id`.
   */
  readonly id: string | number;
  /** Scopes that the session grants. Default: none. */
  readonly scopes?: readonly string[];
  /** Roles of the user. Default: none. */
  readonly roles?: readonly string[];
  /**
   * Who acts as this user, for impersonation: `{ id }`, with an id like the user's. Stands in `req.principal.actor`, in
   * events and in `sessions.list`. Default: none.
   */
  readonly actor?: { readonly id: string | number };
  /**
   * What to call the session in `sessions.list`, such as the browser's name: 1 to 255 characters without control
   * characters. Default: none.
   */
  readonly label?: string;
  /**
   * What the user has proved: `["pwd", "totp"]` for just now, `{ method, at }` with a time in milliseconds for earlier.
   * Becomes `req.principal.methods`; `req.principal.authenticatedAt` is the latest of their times. Default: none, and
   * the time of the log-in; when someone begins or ends to act as another user (`actor`), those of the session so far.
   */
  readonly methods?: readonly ProvedMethod[];
}

/** Options of one `logIn` call. */
export interface LogInSettings {
  /**
   * Idle time-out of this session ("remember me"), in seconds: 1 to 34560000 (400 days). When it is longer than
   * `absoluteMaxAge`, it is the absolute time-out too. The browser keeps the cookie as long, whatever `cookieLifetime`
   * is. Default: `maxAge` of the settings.
   */
  readonly maxAge?: number;
  /**
   * Whether the data that the app stored on `req.session` before the log-in is kept. Default true, except after a
   * log-in of another user: then no data is kept.
   */
  readonly keepData?: boolean;
}

/** Options of one `logOut` call. */
export interface LogOutSettings {
  /**
   * What Clear-Site-Data makes the browser clear: `true` for cache, cookies and storage, a list of them, or `false` for
   * nothing but the session's cookie. Default: `true`.
   */
  readonly clearSiteData?: boolean | readonly SiteData[];
}

const NO_LAYER =
  "No session layer ran on this request. Set `session: {}` in applySecurity (in the outer app if secured apps are mounted in one another). Without applySecurity, add `app.use(sessions({ secret }))` before this route.";

/**
 * Logs a user in: creates a new session id (ASVS 7.2.4; an id planted before is worthless), saves the session before
 * this resolves, and sets `req.principal`. The old id stops working. Call it after the credentials have been checked,
 * and again after a re-authentication.
 *
 * Await it before responding. Without `await`, the response waits for the log-in and a process warning reports it.
 *
 * @throws InvalidInputError (rejects, with `code` "invalid-input" and `status` 400) when `who` or `maxAge` is malformed
 * @throws FactorRequiredError (rejects, with `status` 401) when the app has accounts and the user must prove another
 * factor first
 * @throws SetupError (rejects) when no session layer ran, or the response has already begun
 * @throws SessionEndedError (rejects, with `status` 401) when this is a re-authentication and the session has ended
 * meanwhile, by a log-out, by `sessions.end` or by its time-out; no user is logged in then
 * @throws StoreUnavailableError (rejects, with `status` 503) when the store did not respond, or the user's last
 * `revokeAll` cannot be read; no user is logged in then, and a session that the store writes late is ended
 *
 * @example
 * ```ts
 * import express from "express";
 * import { logIn } from "portcullis";
 *
 * const app = express();
 * app.post("/login", express.json(), async (req, res) => {
 *   // … check the password …
 *   await logIn(req, { id: "ada", roles: ["member"] });
 *   res.sendStatus(204);
 * });
 * ```
 */
export function logIn(req: Request, who: LogInAs, options: LogInSettings = {}): Promise<void> {
  const work = begin(req, who, options);
  const bound = boundSession(req);
  bound?.commit.waitFor(work);
  return mustBeAwaited("logIn", bound?.res, work);
}

async function begin(req: Request, who: LogInAs, options: LogInSettings): Promise<void> {
  const principal = checkedIdentity("logIn", who);
  const { actor, ...own } = checkedOwn(who, options);
  const bound = requireBound(req);
  if (bound.res.headersSent)
    throw new SetupError(
      "logIn was called after the response had started, so its cookie cannot be sent. Call it before sending the response.",
    );
  const { adapter, stored, runtime } = bound.context;
  if (runtime.foreignIds.has(principal.id)) throw new InvalidInputError(`logIn: ${FOREIGN_ID}`);
  const now = stored.now();
  const host = bound.open();
  const { authenticatedAt, methods } = logInAuthentication(who.methods, { ...principal, actor }, host.metadata, now);
  const asked = runtime.gate.check({ kind: "session", id: actor?.id ?? principal.id, methods, req });
  if (asked !== undefined) await asked;
  bound.watch();
  const before = snapshot(host);
  const kind = loginKind(before.metadata?.principal?.id, principal.id);
  const isOver = before.ended || (before.storedId !== undefined && stored.hasEnded(before.storedId));
  if (kind === "renewal" && isOver) throw hasEnded(req, host);
  const latest = stored.sinceFor(principal.id, actor?.id);
  const since = latest instanceof Promise ? await latest : latest;
  // A renewal must not outlive what ended the session that it renews.
  if (kind === "renewal" && isCutOff(before, stored)) throw hasEnded(req, host);
  const keeps = options.keepData !== false && kind !== "other-user" && host.session != null;
  const data = keeps && host.session != null ? appData(host.session) : {};

  adapter.renew(host);
  const metadata = {
    createdAt: now,
    seenAt: now,
    principal: {
      ...principal,
      ...(actor === undefined ? {} : { actor }),
      ...(authenticatedAt === now ? {} : { authenticatedAt }),
      ...(methods.length === 0 ? {} : { methods }),
    },
    ...own,
    ...since,
  };
  host.metadata = metadata;
  const live = Object.assign(host.session ?? {}, data);
  try {
    const outcome = await adapter.save(host, live);
    if (outcome !== "written") throw new SessionStoreFullError();
    if (before.storedId !== undefined) await endReplaced(bound, before.storedId, host, kind);
  } catch (error) {
    Object.assign(host, before);
    throw error instanceof SessionEndedError ? hasEnded(req, host) : error;
  }
  // After a logOut in the same request, this header would make the browser drop the new cookie with the old one.
  if (!bound.res.headersSent) bound.res.removeHeader("Clear-Site-Data");
  req.principal = principalOf(sessionHandle(host.sessionID ?? ""), metadata);
  runtime.events.emit("authn_login_success", () => ({ source: "session", reason: "session", ...requestContext(req) }));
  runtime.events.emit(kind === "renewal" ? "session_renewed" : "session_created", () => ({
    source: "session",
    reason: kind === "renewal" ? "re-authenticated" : "log-in",
    ...requestContext(req),
  }));
  stateIn(req)?.onLogIn?.();
  reportCrossSiteLogIn(req, bound.context.options, runtime);
}

/**
 * Logs out: destroys the session in the store first, invalidates its id even for a request that is still running,
 * clears the cookie and makes the browser clear this site's data (Clear-Site-Data, ASVS 14.3.1). From then on
 * `req.session` is undefined. Without a session it only sends the headers to the browser.
 *
 * Await it before responding. Without `await`, the response waits for the log-out and a process warning reports it.
 *
 * @throws SetupError (rejects) when no session layer ran
 * @throws InvalidInputError (rejects) when `clearSiteData` is malformed; the session still exists then
 * @throws StoreUnavailableError (rejects, with `status` 503) when the store did not respond; the session still exists
 * then
 *
 * @example
 * ```ts
 * import express from "express";
 * import { logOut } from "portcullis";
 *
 * const app = express();
 * app.post("/logout", async (req, res) => {
 *   await logOut(req, res);
 *   res.sendStatus(204);
 * });
 * ```
 */
export function logOut(req: Request, res: Response, options: LogOutSettings = {}): Promise<void> {
  const work = end(req, res, options);
  boundSession(req)?.commit.waitFor(work);
  return mustBeAwaited("logOut", res, work);
}

async function end(req: Request, res: Response, options: LogOutSettings): Promise<void> {
  const siteData = siteDataOf(options.clearSiteData);
  const bound = requireBound(req);
  const { stored, runtime } = bound.context;
  const host = bound.opened;
  if (!res.headersSent) bound.watch();
  const sid = host?.storedId;
  if (sid !== undefined) {
    const facts = requestContext(req);
    const announce = (): void =>
      runtime.events.emit("session_logout", () => ({ source: "session", reason: "log-out", ...facts }));
    await stored.end(sid, "ended", announce);
    announce();
  }
  const ended = host ?? bound.open();
  ended.reset();
  ended.session = undefined;
  if (req.principal?.kind === "session") req.principal = undefined;
  bound.commit.clear(siteData);
}

/** Ends the replaced session. If that fails, the new session must end too. */
async function endReplaced(bound: RequestSession, oldSid: string, host: SessionHost, kind: LoginKind): Promise<void> {
  const { stored } = bound.context;
  try {
    // The new session is already in the store, so a call that ends all sessions after this moment includes it.
    if (kind !== "renewal") await stored.end(oldSid, "replaced");
    else if (!(await stored.endIfAlive(oldSid, "replaced"))) throw new SessionEndedError();
  } catch (error) {
    try {
      if (host.sessionID !== undefined) await stored.end(host.sessionID);
    } catch {
      // The store is down: no client received the new id, and the session expires.
    }
    throw error;
  }
}

function isCutOff({ storedId, metadata }: Snapshot, stored: SessionRepository): boolean {
  return storedId !== undefined && metadata !== undefined && stored.isKnownCutOff(storedId, metadata);
}

/** Handles a log-in on an ended session: it authenticates no user, and the app's changes to it are not saved. */
function hasEnded(req: Request, host: SessionHost): SessionEndedError {
  host.ended = true;
  if (req.principal?.kind === "session") req.principal = undefined;
  return new SessionEndedError();
}

function requireBound(req: Request): RequestSession {
  const bound = boundSession(req);
  if (bound === undefined) throw new SetupError(NO_LAYER);
  return bound;
}

type Snapshot = Pick<SessionHost, "session" | "sessionID" | "metadata" | "storedId" | "storedJson" | "saved" | "ended">;

function snapshot({ session, sessionID, metadata, storedId, storedJson, saved, ended }: SessionHost): Snapshot {
  return { session, sessionID, metadata, storedId, storedJson, saved, ended };
}
