import type session from "express-session";
import type { MethodTable } from "./forwarding.js";
import type { WriteCall } from "./health/write-call.js";
import type { WindowOutcome, WindowPolicy, WindowRequest } from "../core/rate-limits.js";

export type { WindowOutcome, WindowPolicy, WindowRequest, WriteCall };

/**
 * The contracts of every kind of store. The layers know these interfaces only; memory, SQL and Redis implement them,
 * and `portcullis/testing` checks an implementation against them.
 *
 * All times are milliseconds since the epoch. A method that rejects means "the store did not do it".
 *
 * A store returns text and numbers exactly as they were written. It rejects a write of text that not every engine keeps
 * (a NUL, half of a surrogate pair) or of a number that is not a safe integer, and a look-up by such a value finds
 * nothing. Changing an object that was passed in or returned does not change what is stored.
 *
 * The cost of a method does not grow with what one caller has stored, except where its comment says so: `n` is the
 * number of records in the store. Where a cost is O(log n), a SQL store does one index look-up for each statement.
 */

/** An exact sliding-window log. A refused request is not recorded. */
export interface RateLimitStore {
  /** Records `cost` units under `key` if they fit in the window; otherwise records nothing. Atomic. */
  consume(policy: WindowPolicy, key: string, cost: number): WindowOutcome | Promise<WindowOutcome>;
  /**
   * Checks several limits at once, in one round trip: records every cost if each fits its own limit; otherwise records
   * nothing. The outcomes are in the order of the requests, and each says what its own limit allows: when one limit
   * refuses, the `used` of the others does not include this request. The same policy and key twice count as one request
   * with the sum of the costs.
   *
   * On Redis Cluster this is atomic if all keys are the same text. Otherwise each key is decided by itself, at the same
   * time, and recorded costs are taken back when another key refuses. A limit is then never exceeded, but in between a
   * concurrent request may see less room than there is.
   */
  consumeAll?(requests: readonly WindowRequest[]): readonly WindowOutcome[] | Promise<readonly WindowOutcome[]>;
  /** Returns what `consume` would return, and records nothing. */
  peek(policy: WindowPolicy, key: string, cost: number): WindowOutcome | Promise<WindowOutcome>;
  /** Forgets one key. */
  reset(policy: WindowPolicy, key: string): void | Promise<void>;
  /** Stops timers and closes the connections that the store opened itself. */
  close(): void | Promise<void>;
}

/**
 * How the digest of an API key's secret is stored. The algorithm is part of it, so that several algorithms can coexist.
 */
export interface KeyDigest {
  /** How the digest was made. */
  readonly algorithm: "argon2id" | "hmac-sha256";
  /** argon2id: the PHC string with salt and parameters. hmac-sha256: base64url, prefixed by the pepper's id and a dot. */
  readonly digest: string;
}

/** Any value that JSON can represent. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/** One stored API key. */
export interface StoredApiKey {
  /** The public part of the key. */
  readonly id: string;
  /** Owner of the key. */
  readonly ownerId: string;
  /** A name by which its owner recognises it. */
  readonly name: string;
  /** Digest of the secret. */
  readonly hash: KeyDigest;
  /** Scopes that the key grants. */
  readonly scopes: readonly string[];
  /** Roles that the key grants. */
  readonly roles: readonly string[];
  /** Addresses and CIDR ranges from which the key may be used; empty: any address. */
  readonly allow: readonly string[];
  /** The rate limit of this key alone; null for none. */
  readonly rateLimit: { readonly limit: number; readonly windowSeconds: number } | null;
  /** Application data. */
  readonly metadata: Readonly<Record<string, JsonValue>>;
  /** When the key was created, in milliseconds since the epoch. */
  readonly createdAt: number;
  /** When the key expires, in milliseconds since the epoch; null for never. */
  readonly expiresAt: number | null;
  /** When the key was revoked, in milliseconds since the epoch; null if it was not revoked. */
  readonly revokedAt: number | null;
  /** Reason for the revocation. */
  readonly revokedReason: string | null;
  /** Id of the key that replaced this one. */
  readonly rotatedTo: string | null;
  /** Until when the key works beside its successor, in milliseconds since the epoch. */
  readonly graceUntil: number | null;
  /**
   * The id of the credential that created the key through the routes: a key id, a `jti` or a session's handle. Null:
   * the app's own code created it.
   */
  readonly madeBy: string | null;
  /**
   * The keys of one lineage share one request log. The value is the key's own id, or the lineage of the limited key
   * that created it.
   */
  readonly lineage: string;
  /** The first key of the rotations that led to this one; its own id if it replaced no key. */
  readonly firstId: string;
  /** The `firstId` of each of its ancestors, the first creator first; at most 8. */
  readonly path: readonly string[];
  /** Number of accepted requests with this key. */
  readonly usageCount: number;
  /** When the key was last accepted, in milliseconds since the epoch. */
  readonly lastUsedAt: number | null;
}

/** Uses of one key since the last write. */
export interface UsageBatch {
  /** Id of the key. */
  readonly id: string;
  /** Number of uses. */
  readonly count: number;
  /** The last use, in milliseconds since the epoch. */
  readonly lastUsedAt: number;
}

/** Stores API keys. `apiKeyStoreConformance` of `portcullis/testing` checks an implementation. */
export interface ApiKeyStore {
  /** Creates the schema if needed. Called once, before anything else. */
  init(): Promise<void>;
  /**
   * Resolves when the key is durable. Rejects when the id exists; rejects with a `StoreFullError` when a bounded store
   * has no room for the key, or its owner has used up their share. A bounded store drops ended keys first. After the
   * deadline of `call` nothing is committed. Cost: O(log n).
   */
  insert(key: StoredApiKey, call?: WriteCall): Promise<void>;
  /**
   * Returns a key whose `path` or `firstId` carries the mark of `revoke` as revoked, at the time of the mark and with
   * the reason "maker-ended". Cost: O(log n), for the key and at most 9 marks.
   */
  get(id: string): Promise<StoredApiKey | undefined>;
  /**
   * The owner's keys, newest first (`createdAt`, then `id`, descending), starting after the key with the id `after`.
   * Empty when `after` is not the id of a key of this owner, or when `limit` is 0 or less. Cost: O(log n + limit).
   */
  list(ownerId: string, page: { readonly limit: number; readonly after?: string | undefined }): Promise<StoredApiKey[]>;
  /**
   * Revokes a key permanently, even when the store is full. If the key has no successor, or with `descendants`, the
   * same transaction also marks `firstId` as ended: one mark, however many keys it ends, including predecessors in
   * their grace period. False when there is no such key, or nothing changed. Cost: O(log n).
   */
  revoke(id: string, at: number, reason: string, descendants?: boolean): Promise<boolean>;
  /**
   * In one transaction: inserts `successor` and sets `rotatedTo` and `graceUntil` of `id`, provided that key is neither
   * revoked nor rotated. Otherwise returns false and inserts nothing. Of N concurrent calls exactly one returns true.
   * Rejects as `insert` does, and then nothing has changed. After the deadline of `call` nothing is committed. Cost:
   * O(log n).
   */
  rotate(id: string, successor: StoredApiKey, graceUntil: number, call?: WriteCall): Promise<boolean>;
  /** Replaces the digest if it still is `from` (upgrade of the algorithm on use). Cost: O(log n). */
  replaceHash(id: string, from: KeyDigest, to: KeyDigest): Promise<boolean>;
  /**
   * Adds counts and moves `lastUsedAt` forward, never back. Ignores unknown ids. After the deadline of `call` nothing
   * is committed, because the caller then adds the batch again. Cost: O(log n) for each id of the batch.
   */
  addUsage(batch: readonly UsageBatch[], call?: WriteCall): Promise<void>;
  /** Writes pending data and closes what `init` opened. */
  close(): Promise<void>;
}

export const API_KEY_STORE_METHODS: MethodTable<ApiKeyStore> = {
  init: "required",
  insert: "required",
  get: "required",
  list: "required",
  revoke: "required",
  rotate: "required",
  replaceHash: "required",
  addUsage: "required",
  close: "required",
};

/** One stored refresh token. Of its secret only the hash is stored. */
export interface StoredRefreshToken {
  /** The public part of the token. */
  readonly id: string;
  /** HMAC-SHA-256 of the secret part, base64url. */
  readonly hash: string;
  /** The family of the token: all tokens that came from one log-in. */
  readonly familyId: string;
  /** Id of the user or service. */
  readonly subject: string;
  /** Scopes of the access tokens issued for it. */
  readonly scopes: readonly string[];
  /** Roles of the access tokens issued for it. */
  readonly roles: readonly string[];
  /** Further claims of the access tokens issued for it. */
  readonly claims: Readonly<Record<string, JsonValue>>;
  /** When the token was issued, in milliseconds since the epoch. */
  readonly issuedAt: number;
  /** When this token expires if it is not used. */
  readonly expiresAt: number;
  /** When the family expires, however often it rotates. */
  readonly familyExpiresAt: number;
  /** When the token was exchanged. */
  readonly usedAt: number | null;
  /** Id of the token for which this one was exchanged. */
  readonly successorId: string | null;
  /** The secret of the successor, encrypted under a key that can be derived only from the presented token. */
  readonly sealedSuccessor: string | null;
  /** Since when it is known that the successor was not delivered; a store may omit it. */
  readonly undeliveredAt?: number | null;
  /** When it was revoked, in milliseconds since the epoch. */
  readonly revokedAt: number | null;
}

/** The facts about an access token that `isRevoked` needs. */
export interface AccessTokenFacts {
  /** The id of the access token. */
  readonly jti: string;
  /** Subject (principal) of the token. */
  readonly subject: string;
  /** When it was issued, in milliseconds since the epoch. */
  readonly issuedAt: number;
  /** The family of refresh tokens with which it was issued, if any. */
  readonly familyId?: string | undefined;
}

/** Stores refresh tokens and revocations. `tokenStoreConformance` of `portcullis/testing` checks an implementation. */
export interface TokenStore {
  /** Creates the schema if needed. Called once, before anything else. */
  init(): Promise<void>;
  /**
   * Resolves when the token is durable. Rejects when the id exists; rejects with a `StoreFullError` when a bounded
   * store has no room for the token. A bounded store first drops expired tokens and those of revoked families, and may
   * end the family of this subject that was idle for longest. In a revoked family the token is revoked from the
   * beginning. After the deadline of `call` nothing is committed. Cost: O(log n).
   */
  insert(token: StoredRefreshToken, call?: WriteCall): Promise<void>;
  /** Returns the token. `revokedAt` is also set when its family or its subject was revoked. Cost: O(log n). */
  get(id: string): Promise<StoredRefreshToken | undefined>;
  /**
   * In one transaction: marks `id` as used and inserts `successor`, provided `id` is neither used nor revoked (by
   * itself, with its family or with its subject). Otherwise returns false and inserts nothing. Of N concurrent calls
   * exactly one returns true. A concurrent revocation wins: the successor is then revoked. Rejects as `insert` does.
   * After the deadline of `call` nothing is committed. Cost: O(log n).
   */
  rotate(
    id: string,
    usedAt: number,
    successor: StoredRefreshToken,
    sealedSuccessor: string,
    call?: WriteCall,
  ): Promise<boolean>;
  /**
   * Marks a token whose successor is known not to have reached its owner: using the token again is then not a theft.
   * Does nothing when there is no such token, or its successor is not `successorId`. Waits for a `rotate` of this token
   * that is being committed. A store without this method has no such marks. Cost: O(log n).
   */
  markUndelivered?(id: string, successorId: string, at: number): Promise<void>;
  /**
   * Revokes every token of the family, even when the store is full, including a token that a concurrent `rotate` has
   * not inserted yet. One mark on the family, however many tokens it has. Returns false and changes nothing when there
   * is no such family, or it is revoked already. Cost: O(log n).
   */
  revokeFamily(familyId: string, at: number): Promise<boolean>;
  /**
   * Revokes every refresh token of the subject in families that began before this call, and denies access tokens issued
   * before `at`; the denial is kept until `forgetAfter`. One mark on the subject, however many families it has. The
   * order of family and revocation does not depend on a clock. Works when the store is full. Cost: O(log n).
   *
   * @param isRepeated the call was made before with the same times and failed, maybe long ago. Then families stay as
   *   they are when the subject has been revoked at `at` or later: the user may have logged in again since. False by
   *   default.
   */
  revokeSubject(subject: string, at: number, forgetAfter: number, isRepeated?: boolean): Promise<void>;
  /**
   * Denies one access token until it would have expired anyway. As with the other denials, a later call never shortens
   * it.
   */
  revokeAccessToken(jti: string, expiresAt: number): Promise<void>;
  /** Denies the access tokens of a family until the last of them would have expired. */
  denyFamily(familyId: string, until: number): Promise<void>;
  /**
   * Whether an access token is denied by its id, its family or its subject's cut-off. On the hot path: answer without
   * I/O where possible.
   */
  isRevoked(token: AccessTokenFacts): boolean | Promise<boolean>;
  /** Whether `isRevoked` answers from memory now. The caller then uses it even while the store behind it is down. */
  readonly isCurrent?: boolean;
  /**
   * Whether this token is known, without any I/O, to be denied; false proves nothing. Callers use it when `isRevoked`
   * cannot answer, so that an outage never readmits a token that this process knows to be revoked.
   */
  isKnownRevoked?(token: AccessTokenFacts): boolean;
  /**
   * Deletes what has ended before `now`: denials after their end, unused tokens after `expiresAt`, used ones after
   * `familyExpiresAt` (until then they reveal a reuse). Returns the number of deleted tokens and denials. Also sets
   * `sealedSuccessor` to null for tokens used more than 60 s before `now`: no client may request it again, and an
   * attacker with the store and an old token must not be able to decrypt it. Works in slices, so that other operations
   * run in between. Cost: O(n) in a memory store, and O(log n) for each deleted or changed row in a database; no
   * request waits for it.
   */
  deleteExpired(now: number): Promise<number>;
  /** Writes pending data and closes what `init` opened. */
  close(): Promise<void>;
}

export const TOKEN_STORE_METHODS: MethodTable<TokenStore> = {
  init: "required",
  insert: "required",
  get: "required",
  rotate: "required",
  markUndelivered: "optional",
  revokeFamily: "required",
  revokeSubject: "required",
  revokeAccessToken: "required",
  denyFamily: "required",
  isRevoked: "required",
  isKnownRevoked: "optional",
  deleteExpired: "required",
  close: "required",
};

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

type Answer<T> = (error: unknown, value?: T) => void;

/**
 * A store with express-session's contract (`get`, `set`, `destroy`, `touch`; each calls back once) that never restores
 * an ended session. express-session's own `set` writes unconditionally, so a slow request restores a session that was
 * logged out meanwhile (expressjs/session#632). Data comes back as saved, with the `expires` of its cookie as of the
 * last touch. The store reads the principal and the times from the session layer's metadata (`SESSION_METADATA`). A
 * session ends at its cookie's `expires`.
 */
export interface SessionStore extends PrincipalIndex {
  /** Reads a session; null when it does not exist or has ended. */
  get(sid: string, callback: Answer<session.SessionData | null>): void;
  /** Writes a session whether or not it exists, except one destroyed in the last ten minutes (then nothing happens). */
  set(sid: string, data: session.SessionData, callback?: Answer<void>): void;
  /**
   * Writes a new session. Returns false and writes nothing when the id is taken or was destroyed. Atomic across
   * processes.
   */
  create(sid: string, data: session.SessionData, callback: Answer<boolean>): void;
  /** Writes an existing session. Returns false and writes nothing when it does not exist. Atomic across processes. */
  replace(sid: string, data: session.SessionData, callback: Answer<boolean>): void;
  /** Updates the end and `seenAt`, not the data. False when the session does not exist. */
  touch(sid: string, data: session.SessionData, callback?: Answer<boolean>): void;
  /**
   * Ends a session in every process. Also works for an id that does not exist yet: its `create` may be in progress.
   * Returns false when the session had ended before, and true to one caller only. Atomic across processes.
   */
  destroy(sid: string, callback?: Answer<boolean>): void;
}
