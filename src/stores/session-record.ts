import { PortcullisError } from "../core/portcullis-error.js";

/**
 * The key under which the session layer stores its metadata in a session. The app never sees this key on `req.session`,
 * so `Object.assign(req.session, req.body)` cannot make a client a principal.
 */
export const SESSION_METADATA = "portcullis:session";

/** How long an ended id is remembered, in milliseconds: longer than any request that could still write it runs. */
export const ENDED_MS = 600_000;
/** How many ended ids one process remembers. */
export const ENDED_IDS = 10_000;

/** The session layer's metadata of one session. Times are milliseconds since the epoch. */
export interface SessionMetadata {
  readonly createdAt: number;
  readonly seenAt: number;
  readonly principal: {
    readonly id: string;
    readonly scopes: readonly string[];
    readonly roles: readonly string[];
  } | null;
}

/** The store has reached its maximum number of sessions, and none of them may be evicted for this one. */
export class SessionStoreFullError extends PortcullisError {
  readonly code = "PORTCULLIS_SESSION_STORE_FULL";
  /** The status with which Express's own error handler responds when the app passes the error on. */
  readonly status = 503;

  constructor() {
    super("The session store is full.");
    this.name = "SessionStoreFullError";
  }
}
