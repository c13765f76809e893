import type session from "express-session";
import type { MethodTable } from "./forwarding.js";
import type { WriteCall } from "./health/write-call.js";
import type { WindowOutcome, WindowPolicy, WindowRequest } from "../core/rate-limits.js";

export type { WindowOutcome, WindowPolicy, WindowRequest, WriteCall };

/**
 * What a store must do, for every kind of store. The layers know these interfaces only; memory, SQL and Redis
 * implement them; `portcullis/testing` checks an implementation against them.
 *
 * All times are milliseconds since the epoch. A method that rejects means "the store did not do it".
 *
 * Text and numbers come back exactly as they went in. Text that not every engine keeps (a NUL, half of a surrogate pair)
 * and numbers that are not safe integers are rejected when written and match nothing when looked for. What was passed in
 * or given out can be changed without changing what is stored.
 *
 * No method costs in proportion to what one caller has stored, except where its comment says so: `n` is the number of
 * records in the store. A SQL store does what costs O(log n) by one look-up in an index for each statement.
 */

/** An exact sliding-window log. A refused request is not recorded. */
export interface RateLimitStore {
  /** Records `cost` units under `key` when they fit in the window, and nothing otherwise. Atomic. */
  consume(policy: WindowPolicy, key: string, cost: number): WindowOutcome | Promise<WindowOutcome>;
  /**
   * Several limits at once, in one round trip: records every cost when each fits its own limit, and nothing otherwise.
   * Each outcome, in the order of the requests, says what its own limit allows: with one refused, the others' `used` is
   * without this request. The same policy and key twice count as one request of the sum of their costs.
   *
   * On Redis Cluster it is atomic when all keys are the same text. Otherwise each key is decided by itself, at the same
   * time, and what was recorded is taken back when another one refused: never more than a limit is accepted, but in
   * between a concurrent request may find less room than there is.
   */
  consumeAll?(requests: readonly WindowRequest[]): readonly WindowOutcome[] | Promise<readonly WindowOutcome[]>;
  /** Says what `consume` would, and records nothing. */
  peek(policy: WindowPolicy, key: string, cost: number): WindowOutcome | Promise<WindowOutcome>;
  /** Forgets one key. */
  reset(policy: WindowPolicy, key: string): void | Promise<void>;
  /** Stops timers and lets go of connections of its own. */
  close(): void | Promise<void>;
}

/** How an API key's secret is kept: the algorithm travels with the digest, so that several live side by side. */
export interface KeyDigest {
  /** How the digest was made. */
  readonly algorithm: "argon2id" | "hmac-sha256";
  /** argon2id: the PHC string with salt and parameters. hmac-sha256: base64url, prefixed by the pepper's id and a dot. */
  readonly digest: string;
}

/** What JSON can carry. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/** One API key at rest. */
export interface StoredApiKey {
  /** The public part of the key. */
  readonly id: string;
  /** Who the key belongs to. */
  readonly ownerId: string;
  /** A name for its owner to tell it by. */
  readonly name: string;
  /** Digest of the secret. */
  readonly hash: KeyDigest;
  /** Scopes that the key grants. */
  readonly scopes: readonly string[];
  /** Roles that the key grants. */
  readonly roles: readonly string[];
  /** Addresses and CIDR ranges the key may be used from; empty: from anywhere. */
  readonly allow: readonly string[];
  /** The limit of this key alone; null for none. */
  readonly rateLimit: { readonly limit: number; readonly windowSeconds: number } | null;
  /** Data of the app. */
  readonly metadata: Readonly<Record<string, JsonValue>>;
  /** When it was made, in milliseconds since the epoch. */
  readonly createdAt: number;
  /** When it ends, in milliseconds since the epoch; null for never. */
  readonly expiresAt: number | null;
  /** When it was revoked, in milliseconds since the epoch; null if it was not. */
  readonly revokedAt: number | null;
  /** Why it was revoked. */
  readonly revokedReason: string | null;
  /** The key that replaced this one, and until when this one still works beside it. */
  readonly rotatedTo: string | null;
  /** Until when it works beside its successor, in milliseconds since the epoch. */
  readonly graceUntil: number | null;
  /** The id of the credential that made it through the routes: a key id, a `jti`, a session's handle. Null: the app's own code did. */
  readonly madeBy: string | null;
  /** The keys of one lineage share one log of requests: its own id, or the lineage of the limited key that made it. */
  readonly lineage: string;
  /** The first key of the rotations that led to this one; its own id when it replaced none. */
  readonly firstId: string;
  /** The `firstId` of each key it descends from, the first maker first; at most 8. */
  readonly path: readonly string[];
  /** Number of requests it was accepted for. */
  readonly usageCount: number;
  /** When it was last accepted, in milliseconds since the epoch. */
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

/** Where API keys are kept. `apiKeyStoreConformance` of `portcullis/testing` checks an implementation. */
export interface ApiKeyStore {
  /** Creates the schema if needed. Called once, before anything else. */
  init(): Promise<void>;
  /**
   * Resolves when the key is durable. Rejects when the id exists; with a `StoreFullError` when a bounded store has no room for
   * it, or its owner has used up their share. A bounded store drops ended keys first. Past the deadline of `call` nothing is committed. Cost: O(log n).
   */
  insert(key: StoredApiKey, call?: WriteCall): Promise<void>;
  /**
   * A key whose `path` or `firstId` carries the mark of `revoke` comes back as revoked, at the time of the mark and for the
   * reason "maker-ended". Cost: O(log n), for the key and at most 9 marks.
   */
  get(id: string): Promise<StoredApiKey | undefined>;
  /**
   * The owner's keys, newest first (`createdAt`, then `id`, descending), starting after the key with the id `after`.
   * Empty when `after` is not a key of this owner, or when `limit` is 0 or less. Cost: O(log n + limit).
   */
  list(ownerId: string, page: { readonly limit: number; readonly after?: string | undefined }): Promise<StoredApiKey[]>;
  /**
   * Revokes for good, also when the store is full. When the key has no successor, or with `descendants`, it also marks
   * `firstId` as ended, in the same transaction: one mark, whatever the number of keys that it ends, those before it in
   * their grace included. False when there is no
   * such key, or nothing changed. Cost: O(log n).
   */
  revoke(id: string, at: number, reason: string, descendants?: boolean): Promise<boolean>;
  /**
   * In one transaction: inserts `successor` and sets `rotatedTo` and `graceUntil` of `id`, provided that key is neither
   * revoked nor rotated. False otherwise, and then nothing is inserted. Of N concurrent calls exactly one returns true. Rejects
   * as `insert` does, and then nothing changed. Past the deadline of `call` nothing is committed. Cost: O(log n).
   */
  rotate(id: string, successor: StoredApiKey, graceUntil: number, call?: WriteCall): Promise<boolean>;
  /** Replaces the digest if it still is `from` (upgrade of the algorithm on use). Cost: O(log n). */
  replaceHash(id: string, from: KeyDigest, to: KeyDigest): Promise<boolean>;
  /**
   * Adds counts and moves `lastUsedAt` forward, never back. Unknown ids are passed over. Past the deadline of `call` nothing
   * is committed, since the batch is added again then. Cost: O(log n) for each id of the batch.
   */
  addUsage(batch: readonly UsageBatch[], call?: WriteCall): Promise<void>;
  /** Writes what is pending and lets go of what `init` opened. */
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

/** One refresh token at rest. Its secret is only here as a hash. */
export interface StoredRefreshToken {
  /** The public part of the token. */
  readonly id: string;
  /** HMAC-SHA-256 of the secret part, base64url. */
  readonly hash: string;
  /** The family it belongs to: the tokens that came from one log-in. */
  readonly familyId: string;
  /** Id of the user or service. */
  readonly subject: string;
  /** Scopes of the access tokens it gives. */
  readonly scopes: readonly string[];
  /** Roles of the access tokens it gives. */
  readonly roles: readonly string[];
  /** Further claims of the access tokens it gives. */
  readonly claims: Readonly<Record<string, JsonValue>>;
  /** When it was made, in milliseconds since the epoch. */
  readonly issuedAt: number;
  /** When this token ends if it is not used. */
  readonly expiresAt: number;
  /** When the family ends, however often it rotates. */
  readonly familyExpiresAt: number;
  /** When it was exchanged, and for what. The successor's secret is sealed under a key that only the presented token gives. */
  readonly usedAt: number | null;
  /** The token it was exchanged for. */
  readonly successorId: string | null;
  /** The secret of the successor, encrypted. */
  readonly sealedSuccessor: string | null;
  /** Since when it is known that the successor reached nobody; a store may leave it out. */
  readonly undeliveredAt?: number | null;
  /** When it was revoked, in milliseconds since the epoch. */
  readonly revokedAt: number | null;
}

/** What `isRevoked` is asked about. */
export interface AccessTokenFacts {
  /** The id of the access token. */
  readonly jti: string;
  /** The principal it is for. */
  readonly subject: string;
  /** When it was issued, in milliseconds since the epoch. */
  readonly issuedAt: number;
  /** The family of refresh tokens it was issued with, if any. */
  readonly familyId?: string | undefined;
}

/**
 * Where refresh tokens and revocations are kept. `tokenStoreConformance` of `portcullis/testing` checks an
 * implementation.
 */
export interface TokenStore {
  /** Creates the schema if needed. Called once, before anything else. */
  init(): Promise<void>;
  /**
   * Resolves when the token is durable. Rejects when the id exists; with a `StoreFullError` when a bounded store has no room for
   * it. A bounded store drops expired tokens and those of revoked families first, and may end the family of this subject that
   * was idle for longest. In a revoked family the token is revoked from the beginning. Past the
   * deadline of `call` nothing is committed. Cost: O(log n).
   */
  insert(token: StoredRefreshToken, call?: WriteCall): Promise<void>;
  /** The token. `revokedAt` is also set when its family or its subject was revoked. Cost: O(log n). */
  get(id: string): Promise<StoredRefreshToken | undefined>;
  /**
   * In one transaction: marks `id` as used and inserts `successor`, provided `id` is neither used nor revoked, by itself, with
   * its family or with its subject. False otherwise, and then nothing is inserted. Of N concurrent calls exactly one returns
   * true. A revocation that happens at the same time wins: the successor is then revoked. Rejects as `insert` does. Past
   * the deadline of `call` nothing is committed. Cost: O(log n).
   */
  rotate(
    id: string,
    usedAt: number,
    successor: StoredRefreshToken,
    sealedSuccessor: string,
    call?: WriteCall,
  ): Promise<boolean>;
  /**
   * Marks a token whose successor is known never to have reached its owner: using it again is no theft. Nothing happens when
   * there is no such token, or its successor is not `successorId`. Waits for a `rotate` of this token that is being committed.
   * A store without this method has no such marks. Cost: O(log n).
   */
  markUndelivered?(id: string, successorId: string, at: number): Promise<void>;
  /**
   * Revokes every token of the family, those not yet inserted by a concurrent `rotate` included, also when the store is full.
   * One mark on the family, however many tokens it has. False when there is no such family, or this was done before; then
   * nothing changes. Cost: O(log n).
   */
  revokeFamily(familyId: string, at: number): Promise<boolean>;
  /**
   * Revokes every refresh token of the subject in families that began before this call, and cuts off access tokens issued
   * before `at`, remembered until `forgetAfter`. One mark on the subject, however many families it has; no clock decides which
   * families began before. Works when the store is full. Cost: O(log n).
   *
   * @param isRepeated the call was made before with the same times and failed, maybe long ago. Then families stay as they are
   *   when the subject has been revoked at `at` or later: the one who revoked has logged in again since. False by default.
   */
  revokeSubject(subject: string, at: number, forgetAfter: number, isRepeated?: boolean): Promise<void>;
  /** Denies one access token until it would have expired anyway. As with the others, a later call never shortens a denial. */
  revokeAccessToken(jti: string, expiresAt: number): Promise<void>;
  /** Denies the access tokens of a family until the last of them would have expired. */
  denyFamily(familyId: string, until: number): Promise<void>;
  /** Whether an access token is denied by its id, its family or its subject's cut-off. On the hot path: answer without I/O where possible. */
  isRevoked(token: AccessTokenFacts): boolean | Promise<boolean>;
  /** Whether `isRevoked` answers from memory now. Then it is asked even while the store it follows is down. */
  readonly isCurrent?: boolean;
  /**
   * Whether it is known without asking anyone that this token is denied; false proves nothing. Asked when `isRevoked` cannot
   * answer, so that an outage never readmits a token this process knows to be revoked.
   */
  isKnownRevoked?(token: AccessTokenFacts): boolean;
  /**
   * Deletes what has ended before `now`: denials after their end, unused tokens after `expiresAt`, used ones after
   * `familyExpiresAt` (until then they show a reuse). Returns how many tokens and denials. Also forgets (sets to null)
   * `sealedSuccessor` of tokens used more than 60 s before `now`: nobody may ask for it again, and who steals the store and
   * an old token must not find the way from one to the other. In slices, so that others get their turn in between. Cost: O(n) in a
   * memory store, and O(log n) for each row that is deleted or changed in a database; no request waits for it.
   */
  deleteExpired(now: number): Promise<number>;
  /** Writes what is pending and lets go of what `init` opened. */
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
 * What a store offers beyond express-session's contract so that the sessions of one principal can be listed and ended.
 * Such a store also keeps `seenAt` of the stamp up to date when it is touched, and bounds how many sessions a principal has, at a
 * thousand or fewer: with one more, the one that would end first or was idle for longest is ended. So neither method costs in proportion to how
 * often a principal has logged in.
 */
export interface PrincipalIndex {
  /** Those in force, in no particular order. Cost: O(bound). */
  listByPrincipal(principalId: string): readonly PrincipalSession[] | Promise<readonly PrincipalSession[]>;
  /**
   * The ids of those that began at least `agoMs` milliseconds ago, by a clock that all processes share (the store's own), so
   * that what began after a moment is told from what began before it, in whatever process. Also an id whose `create` has begun
   * and has not got there: when it is destroyed, that `create` writes nothing. An id may be of a session that has ended.
   * Cost: O(bound).
   */
  idsByPrincipal(principalId: string, agoMs: number): readonly string[] | Promise<readonly string[]>;
}

type Answer<T> = (error: unknown, value?: T) => void;

/**
 * A store of express-session's contract (`get`, `set`, `destroy`, `touch`; each calls back once) that keeps what has ended
 * ended: express-session's `set` writes whatever it is given, so a slow request brings a session back that was logged out
 * meanwhile (expressjs/session#632). Data comes back as saved, its cookie's `expires` as of the last touch; the store finds
 * the principal and the times in the session layer's stamp (`SESSION_METADATA`). A session ends at its cookie's `expires`.
 */
export interface SessionStore extends PrincipalIndex {
  /** Reads a session; null when there is none, or it has ended. */
  get(sid: string, callback: Answer<session.SessionData | null>): void;
  /** Writes a session whether or not it is there, but never one destroyed in the last ten minutes (then nothing happens). */
  set(sid: string, data: session.SessionData, callback?: Answer<void>): void;
  /** Writes a new session. False, and nothing written, when the id is taken or was destroyed. Atomic across processes. */
  create(sid: string, data: session.SessionData, callback: Answer<boolean>): void;
  /** Writes a session that is still there. False, and nothing written, when it is not. Atomic across processes. */
  replace(sid: string, data: session.SessionData, callback: Answer<boolean>): void;
  /** Moves the end and `seenAt`, not the data. False when the session is not there. */
  touch(sid: string, data: session.SessionData, callback?: Answer<boolean>): void;
  /**
   * Ends a session in every process. Also of an id that is not there: its `create` may be on its way. Says false when the session
   * had ended before, and true to one caller only. Atomic across processes.
   */
  destroy(sid: string, callback?: Answer<boolean>): void;
}
