import { only } from "../../core/authentication.js";
import { BoundedCache } from "../../core/bounded-cache.js";
import { AddressList } from "../../core/http/address-list.js";
import { CacheKey } from "../../core/cache-key.js";
import type { Clock } from "../../core/clock.js";
import { OWN_LIMITS } from "../../core/rate-limits.js";
import { createPrincipal } from "../../core/principal.js";
import type { StoredApiKey, WindowPolicy } from "../../stores/contracts.js";
import { endingIds } from "../../stores/records.js";
import { type ApiKeyRecord, publicRecord } from "../keys/records.js";
import type { AcceptedApiKey } from "./result.js";

/** A verified key, with everything that its requests need. */
export interface VerifiedKey {
  /** The cache key of the presented key. */
  readonly fingerprint: string;
  /** The digest that the key matched: while the record still has it, the key need not be hashed again. */
  readonly digest: string;
  readonly record: ApiKeyRecord;
  readonly allow: AddressList | undefined;
  readonly limit: WindowPolicy | undefined;
  /** The ids of the keys whose end also ends this key. */
  readonly ends: readonly string[];
  /** Monotonic time in milliseconds at which the record was read, or before. */
  readonly readAt: number;
  /** Monotonic time in milliseconds until which the record is used without reading the store. */
  readonly freshUntil: number;
  /** The result shared by all accepted requests, built once. */
  readonly accepted: AcceptedApiKey;
}

/** Average size of a cached key. Larger ones are allowed; then the cache holds fewer. */
const SIZE_EACH = 1024;
/** The largest size that counts, so that every key fits, however small the cache is. */
const LARGEST_SIZE = 65_536;
/** What each value of a record adds to its size: in memory, short values take far more than their text. */
const SIZE_OF_VALUE = 16;

/** Number of evictions known by id; beyond it, keys with makers are read again from the store. */
const REMEMBERED_EVICTIONS = 10_000;

/**
 * For how long an evicted key that is still in force is read again for each use, in milliseconds, besides the time-out
 * of the store. Another process announces a rotation before it writes it, so what is read after the announcement may be
 * the old record. Longer than the rotation waits for its hash, and for the outcome of its COMMIT.
 */
const UNSETTLED_MS = 15_000;

interface Eviction {
  readonly generation: number;
  /** Monotonic time in milliseconds. */
  readonly at: number;
}

interface Remembered extends VerifiedKey {
  readonly generation: number;
}

/** Builds the cache entry of a key. */
export function verifiedKey(stored: StoredApiKey, fingerprint: string, readAt: number, cacheMs: number): VerifiedKey {
  const { id, ownerId, scopes, roles, allow, rateLimit, createdAt } = stored;
  const record = publicRecord(stored);
  const principal = createPrincipal({
    id: ownerId,
    kind: "api-key",
    scopes,
    roles,
    credentialId: id,
    claims: record.metadata,
    authenticatedAt: createdAt,
    methods: only("key", createdAt),
  });
  return {
    fingerprint,
    digest: stored.hash.digest,
    record,
    accepted: Object.freeze({ ok: true, record, principal }),
    allow: allow.length === 0 ? undefined : new AddressList(allow),
    ends: endingIds(stored),
    limit:
      rateLimit === null
        ? undefined
        : { name: OWN_LIMITS.apiKey, limit: rateLimit.limit, windowMs: rateLimit.windowSeconds * 1000 },
    readAt,
    freshUntil: readAt + cacheMs,
  };
}

/** About as many bytes as the record takes in memory: an owner may store many short values as metadata. */
function sizeOf({ record }: VerifiedKey): number {
  const json = JSON.stringify(record);
  const values = json.match(/[,[{]/g)?.length ?? 0;
  return Math.min(json.length + SIZE_OF_VALUE * values, LARGEST_SIZE);
}

/**
 * Verified keys, by key id. Only one key is right for each id, so a wrong key neither hits nor evicts the entry. The
 * key itself is not stored, only its cache key.
 */
export class VerifiedCache {
  readonly #cacheKey = new CacheKey();
  readonly #entries: BoundedCache<Remembered>;
  /** The ids of the cached keys of each owner. */
  readonly #byOwner = new Map<string, Set<string>>();
  readonly #clock: Clock;
  readonly #unsettledMs: number;
  /** The latest eviction of each key. An entry is stale when one of its makers was evicted after the entry was cached. */
  readonly #evicted = new BoundedCache<Eviction>({
    max: REMEMBERED_EVICTIONS,
    dispose: (eviction, _id, reason) => this.#forget(eviction, reason),
  });
  /** The latest eviction that is no longer known by id: it may have been that of any key. */
  #forgotten: Eviction = { generation: 0, at: -Infinity };
  #generation = 0;

  /**
   * @param size maximum number of keys, at least 1; fewer when their records are large
   * @param storeTimeoutMs how long the store calls of a rotation may take
   */
  constructor(size: number, clock: Clock, storeTimeoutMs: number) {
    this.#clock = clock;
    this.#unsettledMs = storeTimeoutMs + UNSETTLED_MS;
    this.#entries = new BoundedCache<Remembered>({
      max: size,
      maxSize: Math.max(size * SIZE_EACH, LARGEST_SIZE),
      sizeCalculation: sizeOf,
      dispose: (entry, _id, reason) => {
        if (reason !== "set") this.#leaveOwner(entry.record);
      },
    });
  }

  /** Increases with every eviction: a record read before an eviction must not be used after it. */
  get generation(): number {
    return this.#generation;
  }

  get size(): number {
    return this.#entries.size;
  }

  fingerprint(key: string): string {
    return this.#cacheKey.digest(key);
  }

  /** The comparison leaks nothing through timing, because the cache keys are digests with a secret prefix. */
  get(id: string, fingerprint: string): VerifiedKey | undefined {
    const entry = this.#entries.get(id);
    if (entry?.fingerprint !== fingerprint || this.#isStale(entry)) return undefined;
    return entry;
  }

  set(entry: VerifiedKey): void {
    const { id, ownerId } = entry.record;
    const freshUntil = this.#isSettled(entry) ? entry.freshUntil : -Infinity;
    this.#entries.set(id, { ...entry, freshUntil, generation: this.#generation });
    const ids = this.#byOwner.get(ownerId);
    if (ids === undefined) this.#byOwner.set(ownerId, new Set([id]));
    else ids.add(id);
  }

  /**
   * Removes a key immediately: it was revoked or rotated, or is about to be. Until its record says so, at most for a few
   * seconds, each use reads it from the store.
   */
  evict(id: string): void {
    this.#generation += 1;
    this.#entries.delete(id);
    this.#evicted.set(id, { generation: this.#generation, at: this.#clock.monotonic() });
  }

  /** Removes all keys of an owner immediately: the store has ended them. Costs as much as the owner has keys here. */
  evictAllOf(ownerId: string): void {
    this.#generation += 1;
    for (const id of [...(this.#byOwner.get(ownerId) ?? [])]) this.#entries.delete(id);
  }

  #leaveOwner({ id, ownerId }: ApiKeyRecord): void {
    const ids = this.#byOwner.get(ownerId);
    ids?.delete(id);
    if (ids?.size === 0) this.#byOwner.delete(ownerId);
  }

  /** Records an eviction that is no longer known. Ignores one that a later eviction of the same key has replaced. */
  #forget(eviction: Eviction, reason: string): void {
    if (reason === "evict" && eviction.generation > this.#forgotten.generation) this.#forgotten = eviction;
  }

  #isSettled({ record: { id, rotatedTo, revokedAt }, readAt }: VerifiedKey): boolean {
    if (rotatedTo !== null || revokedAt !== null) return true;
    const { at } = this.#evicted.peek(id) ?? this.#forgotten;
    return readAt - at >= this.#unsettledMs;
  }

  #isStale({ ends, generation }: Remembered): boolean {
    if (ends.length === 0) return false;
    return (
      generation < this.#forgotten.generation ||
      ends.some((id) => (this.#evicted.peek(id)?.generation ?? 0) > generation)
    );
  }

  clear(): void {
    this.#generation += 1;
    this.#entries.clear();
  }
}
