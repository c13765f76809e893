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

/** What `update` changes of a key. A field that is absent stays as it is. */
export type KeyChange = Partial<
  Pick<StoredApiKey, "name" | "scopes" | "roles" | "allow" | "rateLimit" | "metadata" | "expiresAt">
>;

/** The place of a key in every order of `listAll`. */
export type KeyPosition = Pick<StoredApiKey, "id" | "createdAt" | "expiresAt" | "lastUsedAt">;

/** Which keys of all owners `listAll` returns. */
export interface AllKeysPage {
  /** Most keys of the page. */
  readonly limit: number;
  /** The last key of the page before this one. */
  readonly after?: KeyPosition | undefined;
  /** Only keys that are neither revoked nor replaced, and expire at `from` or later and before `before`; the first to expire first. */
  readonly expires?: { readonly from: number; readonly before: number } | undefined;
  /**
   * Only keys that are neither revoked nor replaced, and were not used (or, if never used, not created) at this time or
   * later; the longest unused first, unless `expires` sets the order.
   */
  readonly unusedSince?: number | undefined;
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
   * the reason "maker-ended"; a key that `revokeAllOf` ended as revoked at its time and with its reason. A key expires
   * no later than any line of `path` and `firstId` whose expiry `update` has changed. Cost: O(log n), for the key and at
   * most 9 marks.
   */
  get(id: string): Promise<StoredApiKey | undefined>;
  /**
   * The owner's keys, newest first (`createdAt`, then `id`, descending), starting after the key with the id `after`.
   * Empty when `after` is not the id of a key of this owner, or when `limit` is 0 or less. Cost: O(log n + limit).
   */
  list(ownerId: string, page: { readonly limit: number; readonly after?: string | undefined }): Promise<StoredApiKey[]>;
  /**
   * Keys of all owners, newest first (`createdAt`, then `id`, descending) or as `page` says (then by ascending `id`),
   * revoked ones included unless `page` excludes them. A page that is shorter than its limit is the last. A store
   * without this method cannot list the keys of all owners. Cost: O(log n + limit), and the keys of the range that both
   * conditions together exclude; O(n) in a memory store.
   */
  listAll?(page: AllKeysPage): Promise<StoredApiKey[]>;
  /**
   * Changes the fields of `change`, provided the key is neither revoked nor rotated; false otherwise. A change of
   * `expiresAt` is also noted for the key's line (`firstId`): no key made with the line outlives it, however many there
   * are. After the deadline of `call` nothing is committed. Cost: O(log n).
   */
  update?(id: string, change: KeyChange, call?: WriteCall): Promise<boolean>;
  /**
   * Ends every key of the owner that is inserted before this call, and successors and keys made with them, even when
   * they are inserted later. One mark on the owner, however many keys it has; the order of key and mark does not depend
   * on a clock. Works when the store is full. Cost: O(log n); in a memory store O(keys of the owner), which it bounds.
   *
   * @param options.keep id of a key of the owner that stays in force if it is
   * @param options.unlessEndedSince nothing happens when the owner's keys have been ended at this time or later: for a
   *   call that repeats one that failed, maybe long ago
   * @returns how many keys it ended that had not been revoked before; undefined when that is not known yet
   */
  revokeAllOf?(
    ownerId: string,
    at: number,
    reason: string,
    options?: { readonly keep?: string | undefined; readonly unlessEndedSince?: number | undefined },
  ): Promise<number | undefined>;
  /**
   * After `revokeAllOf`: writes the end of each key into its record, a few in each turn, so that a later call does not
   * change it. No request waits for it. A store whose `revokeAllOf` changes the records has no such method. Cost: O(keys
   * of the owner).
   *
   * @param onTurn called with the number of keys of each turn that had not been revoked before; it stops at false
   */
  writeEndsOf?(ownerId: string, onTurn: (count: number) => boolean): Promise<void>;
  /**
   * Revokes a key permanently, even when the store is full. If the key has no successor, or with `descendants`, the
   * same transaction also marks `firstId` as ended: one mark, however many keys it ends, including predecessors in
   * their grace period. False when there is no such key, or nothing changed. Cost: O(log n).
   */
  revoke(id: string, at: number, reason: string, descendants?: boolean): Promise<boolean>;
  /**
   * In one transaction: inserts `successor` and sets `rotatedTo` and `graceUntil` of `id`, provided that key is neither
   * revoked nor rotated, and no `update` has given it another name, metadata, limit or other scopes, roles or addresses
   * than the successor's. Otherwise returns false and inserts nothing. Of N concurrent calls exactly one returns true.
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
  listAll: "optional",
  update: "optional",
  revokeAllOf: "optional",
  writeEndsOf: "optional",
  revoke: "required",
  rotate: "required",
  replaceHash: "required",
  addUsage: "required",
  close: "required",
};
