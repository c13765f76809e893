import { PortcullisError } from "../core/portcullis-error.js";

/**
 * Where the session layer keeps its own facts inside a stored session. The app never sees this key on `req.session`,
 * so `Object.assign(req.session, req.body)` cannot make anybody a principal.
 */
export const SESSION_METADATA = "portcullis:session";

/** How long an ended id stays known as ended, in milliseconds: longer than any request that could still write it runs. */
export const ENDED_MS = 600_000;
/** How many ended ids one process remembers. */
export const ENDED_IDS = 10_000;

/** The session layer's facts about one session. Times are milliseconds since the epoch. */
export interface SessionMetadata {
  readonly createdAt: number;
  readonly seenAt: number;
  readonly principal: {
    readonly id: string;
    readonly scopes: readonly string[];
    readonly roles: readonly string[];
  } | null;
}

/** The store holds as many sessions as it may, and none of them may make room for this one. */
export class SessionStoreFullError extends PortcullisError {
  readonly code = "PORTCULLIS_SESSION_STORE_FULL";
  /** What Express's own error handler answers when the app passes the error on. */
  readonly status = 503;

  constructor() {
    super("The session store is full.");
    this.name = "SessionStoreFullError";
  }
}
