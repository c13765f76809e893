import type { MethodTable } from "../forwarding.js";
import type { WriteCall } from "../health/write-call.js";
import type { JsonValue } from "../json.js";

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
  /**
   * What its log-in called the family. Only the first token has it, when it is inserted: a store that lists families
   * keeps it with the family, and `get` omits it.
   */
  readonly label?: string | undefined;
}

/** A family of refresh tokens as a store lists it: one log-in, one device. Times are milliseconds since the epoch. */
export interface StoredTokenFamily {
  /** Id of the family. */
  readonly id: string;
  /** Id of the user or service. */
  readonly subject: string;
  /** What its log-in called it; null for nothing. */
  readonly label: string | null;
  /** When its first token was issued. */
  readonly createdAt: number;
  /** When a token of it was last exchanged; when it began, if none was. */
  readonly lastUsedAt: number;
  /** When it expires if it is not used. */
  readonly expiresAt: number;
  /** When it expires, however often it is used. */
  readonly endsAt: number;
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
   * @param unlessEndedSince families stay as they are when the subject has been revoked at this time or later: for a call
   *   that repeats one that failed, maybe long ago, because the user may have logged in again since
   * @param keep the family that stays in force if it is, with its access tokens; or the `jti` of an access token without
   *   one
   */
  revokeSubject(
    subject: string,
    at: number,
    forgetAfter: number,
    unlessEndedSince?: number,
    keep?: string,
  ): Promise<void>;
  /**
   * The families of a subject that are in force at `now`: not revoked, alone or with the subject, and not expired.
   * Newest first (`createdAt`, then `id`, descending), starting after the family with the id `after`. Empty when `after`
   * is not the id of a family of this subject, or when `limit` is 0 or less. Without this method and `findFamily`,
   * families cannot be listed, and not ended by their id. Cost: O(log n + limit), and one step for each family of the
   * subject that has expired and is not deleted yet.
   */
  familiesOf?(
    subject: string,
    now: number,
    page: { readonly limit: number; readonly after?: string | undefined },
  ): Promise<readonly StoredTokenFamily[]>;
  /** Returns a family, whether or not it is in force; null for an unknown id. Cost: O(log n). */
  findFamily?(familyId: string): Promise<StoredTokenFamily | null>;
  /**
   * Denies one access token until it would have expired anyway. As with the other denials, a later call never shortens
   * it.
   */
  denyAccessToken(jti: string, expiresAt: number): Promise<void>;
  /** Denies the access tokens of a family until the last of them would have expired. */
  denyFamily(familyId: string, until: number): Promise<void>;
  /**
   * Whether an access token is denied by its id, its family or its subject's cut-off. On the hot path: answer without
   * I/O where possible.
   */
  isRevoked(token: AccessTokenFacts): boolean | Promise<boolean>;
  /**
   * Returns the latest cut-off (`at` of `revokeSubject`) of a subject that is still kept, or undefined. Reads it from
   * what all processes share: a `revokeSubject` that succeeded anywhere before this call is in the answer. Rejects when
   * it cannot be read. With this method, cut-offs cover the tokens of a process whose clock is ahead by `leewaySeconds`,
   * and a log-in in any process is issued after them; without it, the clocks of all processes must agree. Cost: O(log n).
   */
  cutOffOf?(subject: string): number | undefined | Promise<number | undefined>;
  /** The latest cut-off of the subject that this process knows, without any I/O, for when `cutOffOf` cannot answer. */
  knownCutOffOf?(subject: string): number | undefined;
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
  familiesOf: "optional",
  findFamily: "optional",
  denyAccessToken: "required",
  denyFamily: "required",
  isRevoked: "required",
  cutOffOf: "optional",
  knownCutOffOf: "optional",
  isKnownRevoked: "optional",
  deleteExpired: "required",
  close: "required",
};
