import { randomBytes } from "node:crypto";
import type { Request } from "express";
import session from "express-session";
import type { Runtime } from "../core/runtime.js";
import { SessionStoreFullError, type SessionMetadata } from "../stores/session-record.js";
import type { FormerSessions } from "./former-sessions.js";
import { mapMaybe, resolveMaybe, type MaybePromise } from "../core/maybe-promise.js";
import type { SessionCookie } from "./session-cookie.js";
import type { ResolvedSessionSettings } from "./settings.js";
import { appData } from "./metadata.js";
import type { WriteOutcome } from "./guarded-store.js";
import type { LoadedSession, SessionRepository } from "./session-repository.js";

export type LiveSession = session.Session & Partial<session.SessionData>;

/**
 * The request as express-session sees it. It is given one of its own because it writes `session`, `sessionID` and
 * `sessionStore` on it, which the real request shows through lazy accessors.
 */
export class SessionHost {
  session: LiveSession | null | undefined;
  sessionID: string | undefined;
  sessionStore: session.Store | undefined;
  /** Our facts of the session; absent until it is first saved. */
  stamp: SessionMetadata | undefined;
  /** The id under which the store knows this session. */
  storedId: string | undefined;
  /** The app's data as the store has it, serialised. */
  storedJson: string | undefined;
  /** The id express-session began with; another one (after `regenerate`) is worth saving even without data. */
  firstId: string | undefined;
  /** The session was saved or its end moved in this request, so its cookie has to go out. */
  saved = false;
  /** The store would not write it: it has ended meanwhile. */
  ended = false;
  /** Called when the app replaces or destroys the session, and with it who was logged in. */
  onIdentityLost: (() => void) | undefined;

  /** Whether the session is worth saving. @throws TypeError when JSON cannot carry its data */
  isDirty(live: LiveSession): boolean {
    if (this.ended) return false;
    const json = serialise(live);
    if (this.storedId === this.sessionID) return json !== this.storedJson;
    return json !== "{}" || this.sessionID !== this.firstId;
  }

  /** Forgets whose session it was. */
  reset(): void {
    this.stamp = undefined;
    this.storedId = undefined;
    this.storedJson = undefined;
    this.ended = false;
  }
}

/** The data of a session as JSON, by which changes are seen. @throws TypeError when JSON cannot carry it */
export function serialise(live: object): string {
  return JSON.stringify(appData(live));
}

/**
 * express-session's `Session` objects and their methods, by the classes it exports; its middleware never runs. The middleware
 * would make the object, parse and hash it for every request with a cookie, most of which only want to know who is calling,
 * and save after the answer has begun to leave (held-response.ts). The ids, the cookie, the times, loading and saving are ours.
 */
export class ExpressSessionAdapter extends session.Store {
  readonly #stored: SessionRepository;

  constructor(stored: SessionRepository) {
    super();
    this.#stored = stored;
  }

  /**
   * Gives the host a new id (192 random bits) and an empty session. `Store.regenerate` calls it by this name, which
   * express-session's middleware would otherwise set on its store.
   */
  generate(host: SessionHost): void {
    host.sessionID = randomBytes(24).toString("base64url");
    super.createSession(host as unknown as Request, { cookie: this.#cookieOf(this.#stored.now()) });
  }

  /** A new session, which nobody knows until it is saved. */
  create(host: SessionHost): void {
    host.sessionStore = this;
    this.generate(host);
    host.firstId = host.sessionID;
  }

  /** A session that was loaded. */
  restore(host: SessionHost, loaded: LoadedSession): void {
    host.sessionStore = this;
    host.sessionID = loaded.sid;
    host.firstId = loaded.sid;
    this.createSession(host as unknown as Request, this.#dataOf(loaded));
  }

  /** A new id and empty data; the old session stays in the store. */
  renew(host: SessionHost): void {
    host.reset();
    this.generate(host);
  }

  /** Saves what the host holds under its id. */
  save(host: SessionHost, live: object): MaybePromise<WriteOutcome> {
    const sid = host.sessionID;
    if (typeof sid !== "string") return "ended";
    const data = appData(live);
    const json = JSON.stringify(data);
    const now = this.#stored.now();
    const stamp = {
      createdAt: host.stamp?.createdAt ?? now,
      seenAt: now,
      principal: host.stamp?.principal ?? null,
    };
    return mapMaybe(this.#stored.write(sid, data, stamp, host.storedId !== sid), (outcome) => {
      if (outcome === "ended") host.ended = true;
      if (outcome !== "written" || host.sessionID !== sid) return outcome;
      host.stamp = stamp;
      host.storedId = sid;
      host.storedJson = json;
      host.saved = true;
      return outcome;
    });
  }

  override get(sid: string, callback: (error: unknown, data?: session.SessionData | null) => void): void {
    resolveMaybe(
      () => this.#stored.load(sid),
      (loaded) => callback(null, loaded === undefined ? null : this.#dataOf(loaded)),
      (error) => callback(error),
    );
  }

  override createSession(req: Request, data: session.SessionData): session.Session & session.SessionData {
    const host = req as unknown as SessionHost;
    const stamp = (data as Stamped)[STAMP];
    const created = super.createSession(req, data);
    host.stamp = stamp;
    host.storedId = host.sessionID;
    host.storedJson = undefined;
    return created;
  }

  /** What `req.session.save()` calls. */
  override set(sid: string, live: session.SessionData, callback: (error?: unknown) => void = () => undefined): void {
    // What JSON cannot carry is an error of the line that saves, as with express-session, and not of a callback that nobody gave.
    serialise(live);
    const host = (live as unknown as { readonly req?: SessionHost }).req;
    resolveMaybe(
      () =>
        host instanceof SessionHost && host.sessionID === sid ? this.save(host, live) : this.#setForeign(sid, live),
      (outcome) => callback(outcome === "full" ? new SessionStoreFullError() : null),
      (error) => callback(error),
    );
  }

  /** What `req.session.destroy()` calls. */
  override destroy(sid: string, callback: (error?: unknown) => void = () => undefined): void {
    resolveMaybe(
      () => this.#stored.end(sid),
      () => callback(null),
      (error) => callback(error),
    );
  }

  /** What `req.session.regenerate()` calls: whoever was logged in is not any more. */
  override regenerate(req: Request, callback: (error?: unknown) => void): void {
    const host = req as unknown as SessionHost;
    super.regenerate(req, (error: unknown) => {
      host.reset();
      host.onIdentityLost?.();
      callback(error);
    });
  }

  /** What `createSession` takes. */
  #dataOf({ record, stamp }: LoadedSession): session.SessionData {
    const cookie = this.#cookieOf(stamp.createdAt, stamp.seenAt);
    return Object.defineProperty({ ...appData(record), cookie }, STAMP, { value: stamp });
  }

  /** `createSession` copies it, members of its prototype too when they are enumerable; so this has own properties only. */
  #cookieOf(createdAt: number, seenAt = createdAt): session.Cookie {
    return { ...this.#stored.cookieOf({ createdAt, seenAt }) };
  }

  /** A session other than the request's own, changed through `req.sessionStore`: it must exist and keeps its stamp. */
  #setForeign(sid: string, data: object): MaybePromise<WriteOutcome> {
    return mapMaybe(this.#stored.load(sid), (loaded) =>
      loaded === undefined ? "ended" : this.#stored.write(sid, appData(data), loaded.stamp, false),
    );
  }
}

/** What one session layer is made of, shared by all of its requests. */
export interface SessionContext {
  readonly options: ResolvedSessionSettings;
  readonly runtime: Runtime;
  readonly cookie: SessionCookie;
  readonly stored: SessionRepository;
  readonly adapter: ExpressSessionAdapter;
  /** Sessions of the express-session before us, where they are looked for. */
  readonly former: FormerSessions | undefined;
}

/** A symbol passes by the copy that express-session makes of loaded data. */
const STAMP = Symbol("stamp");
type Stamped = session.SessionData & { readonly [STAMP]?: SessionMetadata };
