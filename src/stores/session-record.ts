import { PortcullisError } from "../core/portcullis-error.js";
import type { PrincipalSession } from "./contracts/sessions.js";

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
    readonly actor?: { readonly id: string };
  } | null;
  /** Idle time-out of this session, if its log-in set one. In milliseconds. */
  readonly maxAgeMs?: number;
  /** What its log-in called this session. */
  readonly label?: string;
}

/** What a list of sessions shows of one besides its times, from its metadata. */
export type SessionDetails = Pick<PrincipalSession, "label" | "actor" | "maxAgeMs">;

/** `undefined` when there is nothing to show. */
export function detailsOf(metadata: SessionMetadata | undefined): SessionDetails | undefined {
  const { label, maxAgeMs, principal } = metadata ?? {};
  const actor = principal?.actor;
  if (label === undefined && maxAgeMs === undefined && actor === undefined) return undefined;
  return {
    ...(label === undefined ? {} : { label }),
    ...(actor === undefined ? {} : { actor }),
    ...(maxAgeMs === undefined ? {} : { maxAgeMs }),
  };
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
