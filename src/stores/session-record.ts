/**
 * Where the session layer keeps its own facts inside a stored session. The app never sees this key on `req.session`,
 * so `Object.assign(req.session, req.body)` cannot make anybody a principal.
 */
export const SESSION_STAMP = "portcullis:session";

/** The session layer's facts about one session. Times are milliseconds since the epoch. */
export interface SessionStamp {
  readonly createdAt: number;
  readonly seenAt: number;
  readonly principal: {
    readonly id: string;
    readonly scopes: readonly string[];
    readonly roles: readonly string[];
  } | null;
}

/** The store holds as many sessions as it may, and none of them may make room for this one. */
export class SessionStoreFullError extends Error {
  readonly code = "PORTCULLIS_SESSION_STORE_FULL";
  /** What Express's own error handler answers when the app passes the error on. */
  readonly status = 503;

  constructor() {
    super("The session store is full.");
    this.name = "SessionStoreFullError";
  }
}
