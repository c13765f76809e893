import { EventEmitter } from "node:events";
import { loadExpressSession } from "../core/dependencies.js";

/** The cookie of a session, as express-session shows it at `req.session.cookie`. */
export interface SessionCookieData {
  /** The cookie's life when the session began, in milliseconds; null when it ends with the browser. */
  originalMaxAge: number | null;
  /** What remains of the cookie's life, in milliseconds. */
  maxAge?: number | undefined;
  /** Whether the cookie is signed. */
  signed?: boolean | undefined;
  /** When the cookie ends. */
  expires?: Date | null | undefined;
  /** Whether scripts cannot read the cookie. */
  httpOnly?: boolean | undefined;
  /** The path that the cookie is sent to. */
  path?: string | undefined;
  /** The domain that the cookie is shared with. */
  domain?: string | undefined;
  /** Whether the cookie is sent over https only. */
  secure?: boolean | "auto" | undefined;
  /** The SameSite attribute of the cookie. */
  sameSite?: boolean | "lax" | "strict" | "none" | undefined;
}

/**
 * The data of a session: its cookie, and what the app declares in `Portcullis.SessionData`. An app that has
 * `@types/express-session` declares its data in that package's `SessionData` instead.
 */
export interface SessionData extends Portcullis.SessionData {
  /** The cookie. */
  cookie: SessionCookieData;
}

/** A session of express-session, without the app's data. */
export interface Session {
  /** The id of the session, which is secret. */
  id: string;
  /** The cookie. */
  cookie: SessionCookieData;
  /** Replaces the session by an empty one with a new id, and logs the user out. */
  regenerate(callback: (error: unknown) => void): this;
  /** Ends the session and logs the user out. */
  destroy(callback: (error: unknown) => void): this;
  /** Reads the session's data from the store again. */
  reload(callback: (error: unknown) => void): this;
  /** Restores `cookie.maxAge` to its original value. */
  resetMaxAge(): this;
  /** Saves the session now. It is saved by itself before the response is sent. */
  save(callback?: (error: unknown) => void): this;
  /** Restores `cookie.maxAge`; the store is told when the response is sent. */
  touch(): this;
}

/** The members of a request that `sessions()` and `session` of `applySecurity` define. */
interface SessionOfRequest {
  /** The session of this request, created when first read; `undefined` where no protection defined it. */
  session: Session & Partial<SessionData>;
  /** The id of that session, which is secret. */
  sessionID: string;
  /** Where the session is kept. */
  sessionStore: ExpressSessionStore & { generate(req: object): void };
}

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace -- An app can merge into a global namespace from either module format.
  namespace Portcullis {
    /** What an app keeps in a session: it adds members by merging. */
    interface SessionData extends Record<never, unknown> {}
  }

  // eslint-disable-next-line @typescript-eslint/no-namespace -- Express's types are extended by merging into this namespace; there is no other way.
  namespace Express {
    // Inherited, so that the members of `@types/express-session` take precedence where an app has that package.
    interface Request extends SessionOfRequest {}
  }
}

/** What this library uses of express-session. */
interface ExpressSession {
  readonly Session: { new (...parameters: never[]): Session; readonly prototype: Session };
  readonly Cookie: new () => SessionCookieData;
  readonly Store: { new (...parameters: never[]): ExpressSessionStore; readonly prototype: ExpressSessionStore };
}

/** The package express-session, loaded when it is first needed. @throws SetupError when it is missing */
export function expressSession(): ExpressSession {
  return loadExpressSession() as ExpressSession;
}

/**
 * A store with the contract of express-session. Its own methods are those of that package's `Store`, which is not the
 * base class because it would be loaded with this module, also where no app has sessions.
 *
 * @example
 * ```ts
 * import express from "express";
 * import { type ExpressSessionStore, MemorySessionStore, sessions } from "portcullis";
 *
 * const store: ExpressSessionStore = new MemorySessionStore();
 * const app = express();
 * app.use(sessions({ secret: process.env.SESSION_SECRET_KEY, store }));
 * ```
 */
export abstract class ExpressSessionStore extends EventEmitter {
  constructor() {
    super();
    // So that `instanceof` of that package's `Store` holds. The first store does it for all.
    const { Store } = expressSession();
    if (!(this instanceof Store)) Object.setPrototypeOf(ExpressSessionStore.prototype, Store.prototype);
  }

  /** Ends the request's session and begins a new one. */
  regenerate(req: object, callback: (error?: unknown) => unknown): void {
    expressSession().Store.prototype.regenerate.call(this, req, callback);
  }

  /** Reads a session and creates its object. */
  load(sid: string, callback: (error: unknown, session?: SessionData) => unknown): void {
    expressSession().Store.prototype.load.call(this, sid, callback);
  }

  /** Creates the object of a session that was read, and sets it on the request. */
  createSession(req: object, session: SessionData): Session & SessionData {
    return expressSession().Store.prototype.createSession.call(this, req, session);
  }

  /** Reads the data of a session; null when it does not exist. */
  abstract get(sid: string, callback: (error: unknown, session?: SessionData | null) => void): void;
  /** Writes the data of a session. */
  abstract set(sid: string, session: SessionData, callback?: (error?: unknown) => void): void;
  /** Ends a session. */
  abstract destroy(sid: string, callback?: (error?: unknown) => void): void;
  /** Every session of the store. */
  all?(callback: (error: unknown, sessions?: SessionData[] | { [sid: string]: SessionData } | null) => void): void;
  /** Number of sessions in the store. */
  length?(callback: (error: unknown, length?: number) => void): void;
  /** Ends every session. */
  clear?(callback?: (error?: unknown) => void): void;
  /** Moves the end of a session. */
  touch?(sid: string, session: SessionData, callback?: () => void): void;
}
