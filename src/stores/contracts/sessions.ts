import type { AuthenticationMethod } from "../../core/authentication.js";
import type { SessionData } from "../express-session.js";

/** One session of a principal, as a store lists it. */
export interface PrincipalSession {
  /** Id of the session. */
  readonly sid: string;
  /** When the session began, in milliseconds since the epoch. */
  readonly createdAt: number;
  /** When the session was last used, in milliseconds since the epoch. */
  readonly seenAt: number;
  /** When the session ends if it is not used, in milliseconds since the epoch. */
  readonly expiresAt: number;
  /** What its log-in called this session. */
  readonly label?: string;
  /** Who acts as the principal in this session. */
  readonly actor?: { readonly id: string };
  /** Idle time-out of this session, if its log-in set one. In milliseconds. */
  readonly maxAgeMs?: number;
}

/**
 * What a store offers beyond express-session's contract, so that the sessions of one principal can be listed and ended.
 * Such a store also updates `seenAt` of the session metadata on `touch`, and limits the sessions of a principal to a
 * thousand or fewer: one more ends the session that would end first or was idle for longest. The cost of both methods
 * therefore does not grow with the number of log-ins of a principal.
 */
export interface PrincipalIndex {
  /** The active sessions, in no particular order. Cost: O(bound). */
  listByPrincipal(principalId: string): readonly PrincipalSession[] | Promise<readonly PrincipalSession[]>;
  /**
   * The ids of sessions that began at least `agoMs` milliseconds ago, by a clock that all processes share (the store's
   * own), so that the order of a session and a moment is the same in every process. Includes an id whose `create` has
   * begun and not finished: when that id is destroyed, the `create` writes nothing. An id may belong to a session that
   * has ended. Cost: O(bound).
   */
  idsByPrincipal(principalId: string, agoMs: number): readonly string[] | Promise<readonly string[]>;
}

/**
 * The key under which the session layer stores its metadata in a session's data. The app never sees this key on
 * `req.session`, so `Object.assign(req.session, req.body)` cannot make a client a principal.
 */
export const SESSION_METADATA = "portcullis:session";

/** The session layer's metadata of one session. Times are milliseconds since the epoch. */
export interface SessionMetadata {
  readonly createdAt: number;
  readonly seenAt: number;
  readonly principal: {
    readonly id: string;
    readonly scopes: readonly string[];
    readonly roles: readonly string[];
    readonly actor?: { readonly id: string };
    /** When the user last proved their identity; absent when the session began at that time. */
    readonly authenticatedAt?: number;
    /** How the user proved it; absent when the log-in did not say. */
    readonly methods?: readonly AuthenticationMethod[];
  } | null;
  /** Idle time-out of this session, if its log-in set one. In milliseconds. */
  readonly maxAgeMs?: number;
  /** What its log-in called this session. */
  readonly label?: string;
  /** The latest cut-off of the principal when the session began (`security.revokeAll`); absent when there was none. */
  readonly since?: number;
  /** That of the actor. */
  readonly actorSince?: number;
}

/** How long the id of an ended session is remembered, in milliseconds: longer than any request that could write it. */
export const ENDED_MS = 600_000;
/** How many ids of ended sessions one process remembers. */
export const ENDED_IDS = 10_000;

type Answer<T> = (error: unknown, value?: T) => void;

/**
 * A store with express-session's contract (`get`, `set`, `destroy`, `touch`; each calls back once) that never restores
 * an ended session. express-session's own `set` writes unconditionally, so a slow request restores a session that was
 * logged out meanwhile (expressjs/session#632). Data comes back as saved, with the `expires` of its cookie as of the
 * last touch. The store reads the principal, the times and what a list shows from the session layer's metadata (`SESSION_METADATA`). A
 * session ends at its cookie's `expires`.
 *
 * The costs are for one session, whatever the size of its data; `bound` is the most sessions that a principal may have.
 * None grows with the number of sessions in the store.
 */
export interface SessionStore extends PrincipalIndex {
  /** Reads a session; null when it does not exist or has ended. Cost: O(1). */
  get(sid: string, callback: Answer<SessionData | null>): void;
  /**
   * Writes a session whether or not it exists, except one destroyed in the last ten minutes (then nothing happens).
   * Cost: O(log bound).
   */
  set(sid: string, data: SessionData, callback?: Answer<void>): void;
  /**
   * Writes a new session. Returns false and writes nothing when the id is taken or was destroyed. Atomic across
   * processes. Cost: O(log bound); making room included.
   */
  create(sid: string, data: SessionData, callback: Answer<boolean>): void;
  /**
   * Writes an existing session. Returns false and writes nothing when it does not exist. Atomic across processes. Cost:
   * O(log bound).
   */
  replace(sid: string, data: SessionData, callback: Answer<boolean>): void;
  /** Updates the end and `seenAt`, not the data. False when the session does not exist. Cost: O(log bound). */
  touch(sid: string, data: SessionData, callback?: Answer<boolean>): void;
  /**
   * Ends a session in every process. Also works for an id that does not exist yet: its `create` may be in progress.
   * Returns false when the session had ended before, and true to one caller only. Atomic across processes.
   * Cost: O(log bound).
   */
  destroy(sid: string, callback?: Answer<boolean>): void;
}
