import type { ApiKeyStore, KeyDigest, StoredApiKey, UsageBatch } from "../contracts.js";
import { copyApiKey, copyDigest, integer, pageSize, text } from "../records.js";

const MAX_KEYS = 100_000;

export interface MemoryApiKeyStoreOptions {
  /** Most keys held, revoked ones included (default 100 000). Beyond it `insert` and `rotate` reject. */
  readonly maxKeys?: number | undefined;
}

/**
 * API keys in this process's memory: gone after a restart, unknown to other processes. Every method does its work before
 * it returns its promise, so each one is atomic.
 */
export class MemoryApiKeyStore implements ApiKeyStore {
  readonly #keys = new Map<string, StoredApiKey>();
  readonly #owners = new Map<string, Set<string>>();
  readonly #maxKeys: number;

  constructor(options: MemoryApiKeyStoreOptions = {}) {
    this.#maxKeys = options.maxKeys ?? MAX_KEYS;
  }

  async init(): Promise<void> {}

  async insert(key: StoredApiKey): Promise<void> {
    this.#add(copyApiKey(key));
  }

  async get(id: string): Promise<StoredApiKey | undefined> {
    return this.#keys.get(id);
  }

  async list(ownerId: string, page: { readonly limit: number; readonly after?: string | undefined }): Promise<StoredApiKey[]> {
    let keys = [...(this.#owners.get(ownerId) ?? [])].flatMap((id) => this.#keys.get(id) ?? []);
    if (page.after !== undefined) {
      const after = this.#keys.get(page.after);
      if (after === undefined || after.ownerId !== ownerId) return [];
      keys = keys.filter((key) => newestFirst(after, key) < 0);
    }
    return keys.sort(newestFirst).slice(0, pageSize(page.limit));
  }

  async revoke(id: string, at: number, reason: string): Promise<boolean> {
    const key = this.#keys.get(id);
    if (key === undefined || key.revokedAt !== null) return false;
    this.#change(key, { revokedAt: integer(at), revokedReason: text(reason) });
    return true;
  }

  async rotate(id: string, successor: StoredApiKey, graceUntil: number): Promise<boolean> {
    const key = this.#keys.get(id);
    if (key === undefined || key.revokedAt !== null || key.rotatedTo !== null) return false;
    const until = integer(graceUntil);
    this.#add(copyApiKey(successor));
    this.#change(key, { rotatedTo: successor.id, graceUntil: until });
    return true;
  }

  async replaceHash(id: string, from: KeyDigest, to: KeyDigest): Promise<boolean> {
    const key = this.#keys.get(id);
    if (key?.hash.algorithm !== from.algorithm || key.hash.digest !== from.digest) return false;
    this.#change(key, { hash: copyDigest(to) });
    return true;
  }

  async addUsage(batch: readonly UsageBatch[]): Promise<void> {
    for (const { count, lastUsedAt } of batch) {
      integer(count);
      integer(lastUsedAt);
    }
    for (const { id, count, lastUsedAt } of batch) {
      const key = this.#keys.get(id);
      if (key === undefined) continue;
      this.#change(key, {
        usageCount: key.usageCount + count,
        lastUsedAt: key.lastUsedAt === null ? lastUsedAt : Math.max(key.lastUsedAt, lastUsedAt),
      });
    }
  }

  async close(): Promise<void> {}

  #add(key: StoredApiKey): void {
    if (this.#keys.has(key.id)) throw new Error("An API key with this id exists already.");
    if (this.#keys.size >= this.#maxKeys) {
      throw new Error(`The memory store holds its ${this.#maxKeys} API keys. Give \`database\` a URL to keep more.`);
    }
    this.#keys.set(key.id, key);
    const owned = this.#owners.get(key.ownerId);
    if (owned === undefined) this.#owners.set(key.ownerId, new Set([key.id]));
    else owned.add(key.id);
  }

  #change(key: StoredApiKey, change: Partial<StoredApiKey>): void {
    this.#keys.set(key.id, Object.freeze({ ...key, ...change }));
  }
}

/** By `createdAt`, then `id`, both descending; ids by code unit, as SQL's binary collation orders ASCII. */
function newestFirst(a: StoredApiKey, b: StoredApiKey): number {
  if (a.createdAt !== b.createdAt) return b.createdAt - a.createdAt;
  return a.id < b.id ? 1 : a.id > b.id ? -1 : 0;
}
