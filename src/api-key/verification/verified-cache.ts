import { LRUCache } from "lru-cache";
import { AddressList } from "../../core/http/address-list.js";
import { CacheKey } from "../../core/cache-key.js";
import { createPrincipal } from "../../core/principal.js";
import type { StoredApiKey, WindowPolicy } from "../../stores/contracts.js";
import { endingIds } from "../../stores/records.js";
import { type ApiKeyRecord, publicRecord } from "../keys/records.js";
import type { Accepted } from "./result.js";

/** A key that was proved right, with everything a request needs made ready. */
export interface VerifiedKey {
  /** The cache key of the key as presented. */
  readonly fingerprint: string;
  /** The digest it matched: while the record still has it, the key need not be hashed again. */
  readonly digest: string;
  readonly record: ApiKeyRecord;
  readonly allow: AddressList | undefined;
  readonly limit: WindowPolicy | undefined;
  /** The ids whose ending ends this key. */
  readonly ends: readonly string[];
  /** Monotonic milliseconds until which the record is used without asking the store. */
  readonly freshUntil: number;
  /** The answer of every accepted request, made once. */
  readonly accepted: Accepted;
}

/** Evictions known by their id; when more come, keys with makers are read again from the store. */
const REMEMBERED_EVICTIONS = 10_000;

interface Remembered extends VerifiedKey {
  readonly generation: number;
}

/** Makes ready what the requests of one key need. */
export function verifiedKey(stored: StoredApiKey, fingerprint: string, freshUntil: number): VerifiedKey {
  const { id, ownerId, scopes, roles, allow, rateLimit } = stored;
  const record = publicRecord(stored);
  const principal = createPrincipal({ id: ownerId, kind: "api-key", scopes, roles, credentialId: id });
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
        : { name: "api-key", limit: rateLimit.limit, windowMs: rateLimit.windowSeconds * 1000 },
    freshUntil,
  };
}

/**
 * Keys that were proved right, by key id. A key id has one right key, so a wrong one neither hits nor displaces it. The
 * key itself is not kept, only its cache key.
 */
export class VerifiedCache {
  readonly #cacheKey = new CacheKey();
  readonly #entries: LRUCache<string, Remembered>;
  /** At which generation a key was evicted. A remembered key is stale when one it descends from was evicted after it was remembered. */
  readonly #evicted = new LRUCache<string, number>({
    max: REMEMBERED_EVICTIONS,
    dispose: (generation, _id, reason) => this.#forget(generation, reason),
  });
  /** The last generation of which an eviction is no longer known: keys with makers remembered before it are read again. */
  #forgotten = 0;
  #generation = 0;

  constructor(size: number) {
    this.#entries = new LRUCache<string, Remembered>({ max: size });
  }

  /** Rises with every eviction: what was read from the store before one is not to be believed after it. */
  get generation(): number {
    return this.#generation;
  }

  get size(): number {
    return this.#entries.size;
  }

  fingerprint(key: string): string {
    return this.#cacheKey.digest(key);
  }

  /** Comparing digests with a secret prefix tells a caller nothing through time. */
  get(id: string, fingerprint: string): VerifiedKey | undefined {
    const entry = this.#entries.get(id);
    if (entry?.fingerprint !== fingerprint || this.#isStale(entry)) return undefined;
    return entry;
  }

  set(entry: VerifiedKey): void {
    this.#entries.set(entry.record.id, { ...entry, generation: this.#generation });
  }

  /** Forgets a key at once: it was revoked or rotated. */
  evict(id: string): void {
    this.#generation += 1;
    this.#entries.delete(id);
    this.#evicted.set(id, this.#generation);
  }

  /** Not when the same key is evicted again: then its later eviction is known. */
  #forget(generation: number, reason: string): void {
    if (reason === "evict") this.#forgotten = Math.max(this.#forgotten, generation);
  }

  #isStale({ ends, generation }: Remembered): boolean {
    if (ends.length === 0) return false;
    return generation < this.#forgotten || ends.some((id) => (this.#evicted.peek(id) ?? 0) > generation);
  }

  clear(): void {
    this.#generation += 1;
    this.#entries.clear();
  }
}
