import { StoreError } from "../../core/portcullis-error.js";
import { systemClock, type Clock } from "../../core/clock.js";
import { StoreFullError } from "../health/store-full.js";
import type { AllKeysPage, ApiKeyStore, KeyChange, KeyDigest, StoredApiKey, UsageBatch } from "../contracts.js";
import { mapInTurns } from "../in-turns.js";
import { copyApiKey, copyDigest, copyKeyChange, integer, nameText, pageSize, parseJson, text } from "../records.js";
import { endByTime, keyHasEnded, newOwner, type Owner } from "./key-ends.js";
import { KeyLines } from "./key-lines.js";
import { KeyOrders } from "./key-orders.js";
import { shareOf } from "./share.js";

const MAX_KEYS = 100_000;
/** Keys checked for expiry on each insertion: more than one, so that they are removed faster than new ones arrive. */
const SWEPT_PER_INSERT = 4;
const NO_METADATA: StoredApiKey["metadata"] = Object.freeze({});

export interface MemoryApiKeyStoreSettings {
  readonly clock?: Clock | undefined;
  /**
   * Most keys stored, ended ones included (default 100 000). One owner has a hundredth of them at most, but may always
   * have ten. When there is no room, ended keys (revoked, expired, rotated and past their grace) are removed, the
   * earliest first.
   */
  readonly maxKeys?: number | undefined;
}

/**
 * API keys in this process's memory: lost at a restart, unknown to other processes. Every method does its work before
 * it returns its promise, so each one is atomic. A page costs O(log n) and its length, `revokeAllOf` as much for
 * each of the owner's keys, `get` O(1), every other method O(log n).
 */
export class MemoryApiKeyStore implements ApiKeyStore {
  /** The keys, without their metadata. */
  readonly #keys = new Map<string, StoredApiKey>();
  /** Their metadata as JSON, where there is any: many short values take twenty times as much memory as objects. */
  readonly #metadata = new Map<string, string>();
  readonly #owners = new Map<string, Owner>();
  readonly #lines = new KeyLines();
  readonly #orders = new KeyOrders();
  /** Ids of ended keys, in the order in which they were found to have ended. */
  readonly #ended = new Set<string>();
  readonly #clock: Clock;
  readonly #maxKeys: number;
  readonly #share: number;
  #sweep: MapIterator<StoredApiKey> | undefined;

  constructor(options: MemoryApiKeyStoreSettings = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#maxKeys = options.maxKeys ?? MAX_KEYS;
    this.#share = shareOf(this.#maxKeys);
  }

  /** Keys stored, including ended ones that are not removed yet. */
  get size(): number {
    return this.#keys.size;
  }

  async init(): Promise<void> {}

  async insert(key: StoredApiKey): Promise<void> {
    this.#add(copyApiKey(key));
  }

  async get(id: string): Promise<StoredApiKey | undefined> {
    const key = this.#keys.get(id);
    return key && withMetadata(this.#read(key));
  }

  async list(
    ownerId: string,
    page: { readonly limit: number; readonly after?: string | undefined },
  ): Promise<StoredApiKey[]> {
    const after = page.after === undefined ? undefined : this.#keys.get(page.after);
    if (page.after !== undefined && after?.ownerId !== ownerId) return [];
    const positions = this.#owners.get(ownerId)?.positions.page(after, pageSize(page.limit)) ?? [];
    const found = positions.flatMap(({ id }) => this.#keys.get(id) ?? []).map((key) => this.#read(key));
    return mapInTurns(found, withMetadata);
  }

  async listAll(page: AllKeysPage): Promise<StoredApiKey[]> {
    const keys = await this.#orders.page(page, (id) => {
      const key = this.#keys.get(id);
      return key && this.#lines.withMark(key);
    });
    return mapInTurns(keys, (key) => withMetadata({ key, metadata: this.#metadata.get(key.id) }));
  }

  async update(id: string, change: KeyChange): Promise<boolean> {
    const { metadata, ...fields } = copyKeyChange(change);
    const key = this.#keys.get(id);
    if (key === undefined || this.#lines.withMark(key).revokedAt !== null || key.rotatedTo !== null) return false;
    if (fields.expiresAt !== undefined) this.#lines.expire(key.firstId, fields.expiresAt ?? undefined);
    if (metadata !== undefined) this.#setMetadata(id, metadata);
    this.#change(key, fields);
    return true;
  }

  /** Its cost is that of the owner's keys, of which there are few: the owner's share. */
  async revokeAllOf(
    ownerId: string,
    at: number,
    reason: string,
    {
      keep,
      unlessEndedSince = Infinity,
    }: { readonly keep?: string | undefined; readonly unlessEndedSince?: number | undefined } = {},
  ): Promise<number> {
    nameText(ownerId);
    const change = { revokedAt: integer(at), revokedReason: text(reason) };
    const owner = this.#owners.get(ownerId);
    if (owner === undefined || (owner.endedAt ?? -Infinity) >= unlessEndedSince) return 0;
    owner.endedAt = Math.max(at, owner.endedAt ?? at);
    const kept = keep === undefined ? undefined : this.#keys.get(keep);
    const spared = new Set(kept?.ownerId === ownerId ? [...kept.path, kept.firstId] : []);
    let count = 0;
    for (const { id } of owner.positions.page(undefined, owner.count)) {
      const key = this.#keys.get(id);
      if (key === undefined || key === kept) continue;
      if (this.#lines.withMark(key).revokedAt === null) {
        this.#change(key, change);
        count += 1;
      }
      // A key that is being made with it ends too.
      if (!spared.has(key.firstId) && this.#lines.isAlive(key.firstId)) this.#lines.end(key.firstId, at);
    }
    return count;
  }

  async revoke(id: string, at: number, reason: string, descendants = false): Promise<boolean> {
    const key = this.#keys.get(id);
    if (key === undefined) return false;
    const revokes = key.revokedAt === null;
    const endedAt = integer(at);
    const marks = (descendants || (revokes && key.rotatedTo === null)) && this.#lines.isAlive(key.firstId);
    if (revokes) this.#change(key, { revokedAt: endedAt, revokedReason: text(reason) });
    if (marks) this.#lines.end(key.firstId, endedAt);
    return revokes || marks;
  }

  async rotate(id: string, successor: StoredApiKey, graceUntil: number): Promise<boolean> {
    const key = this.#keys.get(id);
    if (key === undefined || this.#lines.withMark(key).revokedAt !== null || key.rotatedTo !== null) return false;
    const until = integer(graceUntil);
    const next = copyApiKey(successor);
    if (givenBy(withMetadata(this.#read(key))) !== givenBy(next)) return false;
    // First, so that a key rotated without a grace can make room for its successor.
    this.#change(key, { rotatedTo: next.id, graceUntil: until });
    try {
      this.#add(next);
    } catch (error) {
      this.#put(key);
      throw error;
    }
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
    if (this.#keys.has(key.id)) throw new StoreError("An API key with this id already exists.");
    this.#makeRoom(key.ownerId);
    let owner = this.#owners.get(key.ownerId);
    if (owner === undefined) {
      owner = newOwner();
      this.#owners.set(key.ownerId, owner);
    }
    owner.positions.add({ createdAt: key.createdAt, id: key.id });
    owner.count += 1;
    this.#lines.enter(key);
    this.#setMetadata(key.id, key.metadata);
    this.#put(Object.freeze({ ...key, metadata: NO_METADATA }));
  }

  #setMetadata(id: string, metadata: StoredApiKey["metadata"]): void {
    const json = JSON.stringify(metadata);
    if (json === "{}") this.#metadata.delete(id);
    else this.#metadata.set(id, json);
  }

  #read(key: StoredApiKey): KeyParts {
    return { key: this.#lines.withMark(key), metadata: this.#metadata.get(key.id) };
  }

  #change(key: StoredApiKey, change: Partial<StoredApiKey>): void {
    this.#put(Object.freeze({ ...key, ...change }));
  }

  #put(key: StoredApiKey): void {
    const before = this.#keys.get(key.id);
    this.#keys.set(key.id, key);
    this.#orders.put(key, before);
    const [was, is] = [before && endByTime(before), endByTime(key)];
    if (was?.at !== is?.at) {
      const ends = this.#owners.get(key.ownerId)?.ends;
      if (was !== undefined) ends?.remove(was);
      if (is !== undefined) ends?.add(is);
    }
    this.#sort(key, this.#clock.now());
  }

  /** Adds a key to the ended ones, or removes it from them. */
  #sort(key: StoredApiKey, now: number): void {
    const hasEnded = keyHasEnded(this.#lines.withMark(key), now);
    for (const set of [this.#ended, this.#owners.get(key.ownerId)?.ended]) {
      if (hasEnded) set?.add(key.id);
      else set?.delete(key.id);
    }
  }

  #makeRoom(ownerId: string): void {
    const now = this.#clock.now();
    this.#sweepSome(now);
    const owner = this.#owners.get(ownerId);
    if (owner !== undefined && owner.count >= this.#share) {
      this.#sweepOwner(owner, now);
      if (!this.#dropFirst(owner.ended))
        throw new StoreFullError(
          "share",
          `This owner has ${this.#share} API keys, the maximum for one owner in the memory store.`,
        );
    }
    if (this.#keys.size >= this.#maxKeys && !this.#dropFirst(this.#ended)) {
      throw new StoreFullError(
        "store",
        `The memory store is full: it has ${this.#maxKeys} API keys. To store more, set database.`,
      );
    }
  }

  #sweepSome(now: number): void {
    for (let step = 0; step < SWEPT_PER_INSERT; step += 1) {
      this.#sweep ??= this.#keys.values();
      const next = this.#sweep.next();
      if (next.done === true) {
        this.#sweep = undefined;
        return;
      }
      this.#sort(next.value, now);
    }
  }

  /** Finds the key that ended first by time, and a few of those that a mark has ended. */
  #sweepOwner(owner: Owner, now: number): void {
    for (const { id } of owner.ends.page(undefined, 1)) {
      const key = this.#keys.get(id);
      if (key !== undefined) this.#sort(key, now);
    }
    const some = owner.positions.page(owner.sweptTo, SWEPT_PER_INSERT);
    owner.sweptTo = some.at(-1);
    for (const { id } of some) {
      const key = this.#keys.get(id);
      if (key !== undefined) this.#sort(key, now);
    }
  }

  /** Removes the key that was found to have ended first. False when there is none. */
  #dropFirst(ended: Set<string>): boolean {
    const [id] = ended;
    const key = id === undefined ? undefined : this.#keys.get(id);
    if (key === undefined) return false;
    this.#keys.delete(key.id);
    this.#metadata.delete(key.id);
    this.#lines.leave(key);
    this.#orders.remove(key);
    this.#ended.delete(key.id);
    const owner = this.#owners.get(key.ownerId);
    if (owner === undefined) return true;
    owner.ended.delete(key.id);
    owner.positions.remove(key);
    const end = endByTime(key);
    if (end !== undefined) owner.ends.remove(end);
    owner.count -= 1;
    if (owner.count === 0) this.#owners.delete(key.ownerId);
    return true;
  }
}

/** What an update may change and a rotation keeps, as text. The expiry is not part of it: the line notes it. */
function givenBy({ name, scopes, roles, allow, rateLimit, metadata }: StoredApiKey): string {
  return JSON.stringify([name, scopes, roles, allow, rateLimit, metadata]);
}

/** A key without its metadata, and that metadata. */
interface KeyParts {
  readonly key: StoredApiKey;
  readonly metadata: string | undefined;
}

function withMetadata({ key, metadata }: KeyParts): StoredApiKey {
  if (metadata === undefined) return key;
  return Object.freeze({ ...key, metadata: parseJson(metadata) as StoredApiKey["metadata"] });
}
