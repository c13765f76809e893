import { randomBytes } from "node:crypto";
import type { Request } from "express";
import {
  ExpressSessionStore,
  type Session,
  type SessionCookieData,
  type SessionData,
} from "../stores/express-session.js";
import type { Runtime } from "../core/runtime.js";
import { SessionStoreFullError } from "../stores/health/store-full.js";
import { StoreUnavailableError } from "../stores/health/store-guard.js";
import type { SessionMetadata } from "../stores/contracts.js";
import type { StoreCaller } from "../core/store-caller.js";
import type { FormerSessions } from "./former-sessions.js";
import { mapMaybe, resolveMaybe, type MaybePromise } from "../core/maybe-promise.js";
import type { SessionTimes } from "./decide.js";
import type { SessionCookie } from "./session-cookie.js";
import type { ResolvedSessionSettings } from "./settings.js";
import { appData } from "./metadata.js";
import type { WriteOutcome } from "./guarded-store.js";
import type { LoadedSession, SessionRepository } from "./session-repository.js";

export type LiveSession = Session & Partial<SessionData>;

/**
 * The object that express-session uses as its request. It is separate from the real request because express-session
 * writes `session`, `sessionID` and `sessionStore` on it, and the real request has lazy accessors for them.
 */
export class SessionHost {
  session: LiveSession | null | undefined;
  sessionID: string | undefined;
  sessionStore: ExpressSessionStore | undefined;
  /** This layer's metadata of the session; absent until the session is first saved. */
  metadata: SessionMetadata | undefined;
  /** The id under which the session is in the store. */
  storedId: string | undefined;
  /** The app's data as stored, serialised. */
  storedJson: string | undefined;
  /** The id the session had at first; a different one (after `regenerate`) is worth saving even without data. */
  firstId: string | undefined;
  /** The session was saved or its expiry was extended in this request, so the response must set its cookie. */
  saved = false;
  /** The store rejected the write because the session has ended. */
  ended = false;
  /** An id whose first save failed. It is not saved again: it is being withdrawn from the store. */
  withdrawnId: string | undefined;
  /** The request whose session it is. */
  caller: StoreCaller | undefined;
  /** Called when the app replaces or destroys the session, which also logs its user out. */
  onIdentityLost: (() => void) | undefined;

  /** Whether the session must be saved. @throws TypeError when JSON cannot represent its data */
  isDirty(live: LiveSession): boolean {
    if (this.ended) return false;
    const json = serialise(live);
    if (this.storedId === this.sessionID) return json !== this.storedJson;
    return json !== "{}" || this.sessionID !== this.firstId;
  }

  /** Clears the metadata and the stored state of the session. */
  reset(): void {
    this.metadata = undefined;
    this.storedId = undefined;
    this.storedJson = undefined;
    this.ended = false;
  }
}

/** The data of a session as JSON, used to detect changes. @throws TypeError when JSON cannot represent it */
export function serialise(live: object): string {
  return JSON.stringify(appData(live));
}

/**
 * Creates express-session's `Session` objects with the classes it exports; its middleware never runs. For every request
 * with a cookie that middleware would create, parse and hash the session, although most requests only need its user,
 * and it would save after the response has begun (held-response.ts). This layer handles ids, cookie, time-outs, loading
 * and saving itself.
 */
export class ExpressSessionAdapter extends ExpressSessionStore {
  readonly #stored: SessionRepository;

  constructor(stored: SessionRepository) {
    super();
    this.#stored = stored;
  }

  /**
   * Sets a new id (192 random bits) and an empty session on the host. `Store.regenerate` calls this method by its name;
   * express-session's middleware would otherwise set it on its store.
   */
  generate(host: SessionHost): void {
    const now = this.#stored.now();
    host.sessionID = randomBytes(24).toString("base64url");
    super.createSession(host, { cookie: this.#cookieOf({ createdAt: now, seenAt: now }) });
  }

  /** Creates a new session, which is not stored until it is saved. */
  create(host: SessionHost): void {
    host.sessionStore = this;
    this.generate(host);
    host.firstId = host.sessionID;
  }

  /** Restores a session that was loaded. */
  restore(host: SessionHost, loaded: LoadedSession): void {
    host.sessionStore = this;
    host.sessionID = loaded.sid;
    host.firstId = loaded.sid;
    this.createSession(host as unknown as Request, this.#dataOf(loaded));
  }

  /** Sets a new id and empty data; the old session stays in the store. */
  renew(host: SessionHost): void {
    host.reset();
    this.generate(host);
  }

  /**
   * Saves the host's session under its id. When the first save of an id fails, the id is withdrawn: a session whose
   * caller was refused must not appear in the store later.
   *
   * @throws StoreUnavailableError (or rejects) when the store fails, or the id has been withdrawn
   */
  save(host: SessionHost, live: object): MaybePromise<WriteOutcome> {
    const sid = host.sessionID;
    if (typeof sid !== "string") return "ended";
    if (host.withdrawnId === sid) throw new StoreUnavailableError("session");
    const data = appData(live);
    const json = JSON.stringify(data);
    const now = this.#stored.now();
    const metadata = {
      ...host.metadata,
      createdAt: host.metadata?.createdAt ?? now,
      seenAt: now,
      principal: host.metadata?.principal ?? null,
    };
    const isFresh = host.storedId !== sid;
    const withdraw = (): void => {
      host.withdrawnId = sid;
      this.#stored.withdraw(sid);
    };
    const written = this.#stored.write(sid, data, metadata, isFresh, host.caller, isFresh ? withdraw : undefined);
    return mapMaybe(written, (outcome) => {
      if (outcome === "ended") host.ended = true;
      if (outcome !== "written" || host.sessionID !== sid) return outcome;
      host.metadata = metadata;
      host.storedId = sid;
      host.storedJson = json;
      host.saved = true;
      return outcome;
    });
  }

  override get(sid: string, callback: (error: unknown, data?: SessionData | null) => void): void {
    resolveMaybe(
      () => this.#stored.load(sid),
      (loaded) => callback(null, loaded === undefined ? null : this.#dataOf(loaded)),
      (error) => callback(error),
    );
  }

  override createSession(req: Request, data: SessionData): Session & SessionData {
    const host = req as unknown as SessionHost;
    const metadata = (data as WithMetadata)[METADATA];
    const created = super.createSession(req, data);
    host.metadata = metadata;
    host.storedId = host.sessionID;
    host.storedJson = undefined;
    return created;
  }

  /** Implements `req.session.save()`. */
  override set(sid: string, live: SessionData, callback: (error?: unknown) => void = () => undefined): void {
    // Throw where the app calls `save`, as express-session does, when JSON cannot represent the data: the callback is
    // optional.
    serialise(live);
    const host = (live as unknown as { readonly req?: SessionHost }).req;
    resolveMaybe(
      () =>
        host instanceof SessionHost && host.sessionID === sid ? this.save(host, live) : this.#setForeign(sid, live),
      (outcome) => callback(outcome === "full" ? new SessionStoreFullError() : null),
      (error) => callback(error),
    );
  }

  /** Implements `req.session.destroy()`. */
  override destroy(sid: string, callback: (error?: unknown) => void = () => undefined): void {
    resolveMaybe(
      () => this.#stored.end(sid),
      () => callback(null),
      (error) => callback(error),
    );
  }

  /** Implements `req.session.regenerate()`. It also logs the user out. */
  override regenerate(req: Request, callback: (error?: unknown) => void): void {
    const host = req as unknown as SessionHost;
    super.regenerate(req, (error: unknown) => {
      host.reset();
      host.onIdentityLost?.();
      callback(error);
    });
  }

  /** Converts a loaded session to the argument of `createSession`. */
  #dataOf({ record, metadata }: LoadedSession): SessionData {
    const cookie = this.#cookieOf(metadata);
    return Object.defineProperty({ ...appData(record), cookie }, METADATA, { value: metadata });
  }

  /** `createSession` copies all enumerable members, inherited ones too; so the object has own properties only. */
  #cookieOf(times: SessionTimes): SessionCookieData {
    return { ...this.#stored.cookieOf(times) };
  }

  /**
   * Writes a session other than the request's own, changed through `req.sessionStore`: it must exist, and it keeps its
   * metadata.
   */
  #setForeign(sid: string, data: object): MaybePromise<WriteOutcome> {
    return mapMaybe(this.#stored.load(sid), (loaded) =>
      loaded === undefined ? "ended" : this.#stored.write(sid, appData(data), loaded.metadata, false),
    );
  }
}

/** The parts of one session layer, shared by all of its requests. */
export interface SessionContext {
  readonly options: ResolvedSessionSettings;
  readonly runtime: Runtime;
  readonly cookie: SessionCookie;
  /** The cookie over plain http, with `secure: "auto"`. */
  readonly plainCookie: SessionCookie | undefined;
  readonly stored: SessionRepository;
  readonly adapter: ExpressSessionAdapter;
  /** Sessions created by express-session itself; present when they are still accepted. */
  readonly former: FormerSessions | undefined;
}

/** The cookie of this request: with `secure: "auto"` it depends on whether the request came over https. */
export function cookieFor({ cookie, plainCookie }: SessionContext, req: Request): SessionCookie {
  return plainCookie === undefined || req.secure ? cookie : plainCookie;
}

/** A symbol key survives the copy that express-session makes of loaded data. */
const METADATA = Symbol("portcullis.metadata");
type WithMetadata = SessionData & { readonly [METADATA]?: SessionMetadata };
