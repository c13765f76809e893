import type { MethodTable } from "../forwarding.js";
import type { WriteCall } from "../health/write-call.js";
import type { JsonValue } from "../json.js";

/**
 * How the digest of an API key's secret is stored. The algorithm is part of it, so that several algorithms can coexist.
 */
export interface KeyDigest {
  /** How the digest was made. */
  readonly algorithm: "argon2id" | "hmac-sha256";
  /** argon2id: the PHC string with salt and parameters. hmac-sha256: base64url, prefixed by the pepper's id and a dot. */
  readonly digest: string;
}

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
  /** Until when the key works beside its successor, in milliseconds since the epoch; 0 or null: not at all. */
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
