import { setImmediate as yieldToOthers } from "node:timers/promises";
import { systemClock, type Clock } from "../../core/clock.js";
import type { CredentialChange, CredentialStore, StoredCredential, WriteCall } from "../contracts.js";
import {
  changedCredential,
  checkedChange,
  type CheckedCredentialChange,
  CREDENTIALS_OF_ONE,
  hasEnded,
  oldestFirst,
} from "../credential-records.js";
import { StoreFullError } from "../health/store-full.js";
import { commitAtOnce } from "../health/write-call.js";
import { integer } from "../records.js";
import { EndingEntries } from "./ending-entries.js";

const MAX_CREDENTIALS = 100_000;
/** Credentials removed in one turn of a clean-up: about a millisecond of work. */
const CLEANED_PER_TURN = 2000;

export interface MemoryCredentialStoreSettings {
  readonly clock?: Clock | undefined;
  /**
   * Most credentials stored (default 100 000), of one person at most 100. When there is no room, one that ends by itself
   * gives way: an expired one, then the first to end of the kind of which there are most. Passwords, factors and recovery
   * codes never do: when they alone are left, a change that adds one is rejected.
   */
  readonly maxCredentials?: number | undefined;
}

type Own = ReadonlyMap<string, StoredCredential>;

const NONE: Own = new Map();

/**
 * Credentials in this process's memory: gone after a restart, unknown to other processes. Every method but
 * `deleteExpired` does its work before it returns its promise, so each one is atomic. A change costs O(own log n), with
 * `own` the credentials of the person, at most 100; `listOf` O(own log own); `deleteExpired` O(log n) for each one
 * removed; every other method O(log n).
 */
export class MemoryCredentialStore implements CredentialStore {
  readonly #byId = new Map<string, StoredCredential>();
  readonly #idByName = new Map<string, string>();
  readonly #byOwner = new Map<string, Map<string, StoredCredential>>();
  readonly #ending = new EndingEntries<StoredCredential>();
  readonly #clock: Clock;
  readonly #maxCredentials: number;

  constructor(options: MemoryCredentialStoreSettings = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#maxCredentials = options.maxCredentials ?? MAX_CREDENTIALS;
  }

  /** Credentials stored, including expired ones that are not removed yet. */
  get size(): number {
    return this.#byId.size;
  }

  async init(): Promise<void> {}

  async listOf(ownerId: string): Promise<readonly StoredCredential[]> {
    return Object.freeze([...(this.#byOwner.get(ownerId) ?? NONE).values()].sort(oldestFirst));
  }

  async find(kind: string, name: string): Promise<StoredCredential | undefined> {
    const id = this.#idByName.get(nameOf(kind, name));
    return id === undefined ? undefined : this.#byId.get(id);
  }

  async change(ownerId: string, change: CredentialChange, call?: WriteCall): Promise<boolean> {
    const checked = checkedChange(ownerId, change);
    const own = this.#byOwner.get(ownerId) ?? NONE;
    const after = checked && this.#after(own, checked);
    if (checked === undefined || after === undefined) return false;
    return commitAtOnce(call, () => {
      if (checked.insert.length > 0) this.#makeRoom(own, after, checked.insert);
      for (const [id, one] of own) if (after.get(id) !== one) this.#drop(one);
      for (const [id, one] of after) if (own.get(id) !== one) this.#put(one);
      return true;
    });
  }

  async advance(id: string, counter: number, usedAt: number, call?: WriteCall): Promise<boolean> {
    const used = { counter: integer(counter), usedAt: integer(usedAt), failures: 0 };
    const found = this.#byId.get(id);
    if (found === undefined || found.counter >= counter) return false;
    return commitAtOnce(call, () => {
      this.#replace(found, used);
      return true;
    });
  }

  async addFailure(id: string, call?: WriteCall): Promise<number | undefined> {
    const found = this.#byId.get(id);
    if (found === undefined) return undefined;
    return commitAtOnce(call, () => this.#replace(found, { failures: found.failures + 1 }).failures);
  }

  async clearFailures(id: string, call?: WriteCall): Promise<void> {
    const found = this.#byId.get(id);
    if (found !== undefined) commitAtOnce(call, () => this.#replace(found, { failures: 0 }));
  }

  async deleteExpired(now: number): Promise<number> {
    integer(now);
    for (let deleted = 0; ;) {
      const ended = this.#ending.ended(now);
      if (ended === undefined) return deleted;
      this.#drop(ended);
      deleted += 1;
      if (deleted % CLEANED_PER_TURN === 0) await yieldToOthers();
    }
  }

  async close(): Promise<void> {}

  /** The person's credentials as the change makes them; `undefined` when one of its conditions does not hold. */
  #after(own: Own, change: CheckedCredentialChange): Map<string, StoredCredential> | undefined {
    const after = new Map(own);
    for (const id of change.remove) if (!after.delete(id)) return undefined;
    for (const [id, { kind }] of after) if (change.removeKinds.has(kind)) after.delete(id);
    for (const update of change.update) {
      const found = after.get(update.id);
      if (found?.version !== update.version) return undefined;
      after.set(update.id, changedCredential(found, update));
    }
    const names = new Set<string>();
    for (const one of change.insert) {
      const name = nameOf(one.kind, one.name);
      const named = this.#idByName.get(name);
      // A name or an id that the same change makes free is free.
      const isTaken = named !== undefined && (!own.has(named) || after.has(named));
      if (isTaken || names.has(name) || after.has(one.id) || (this.#byId.has(one.id) && !own.has(one.id)))
        return undefined;
      names.add(name);
      after.set(one.id, one);
    }
    return after;
  }

  /** @throws StoreFullError when the person, or the store, has no room for what is inserted */
  #makeRoom(own: Own, after: Map<string, StoredCredential>, inserted: readonly StoredCredential[]): void {
    const now = this.#clock.now();
    if (after.size > CREDENTIALS_OF_ONE)
      for (const [id, one] of after) if (hasEnded(one, now) && !inserted.includes(one)) after.delete(id);
    if (after.size > CREDENTIALS_OF_ONE)
      throw new StoreFullError("share", `A person has at most ${CREDENTIALS_OF_ONE} credentials.`);
    const excess = this.#byId.size - own.size + after.size - this.#maxCredentials;
    const ownEnding = [...own.values()].filter(({ expiresAt }) => expiresAt !== null).length;
    if (excess > this.#ending.size - ownEnding)
      throw new StoreFullError(
        "store",
        `The memory store is full: it has ${this.#maxCredentials} credentials. To store more, set database.`,
      );
    for (let leaving = 0; leaving < excess; leaving += 1) this.#drop(this.#ending.next(now, own));
  }

  #replace(found: StoredCredential, members: Partial<StoredCredential>): StoredCredential {
    const changed = Object.freeze({ ...found, ...members });
    this.#drop(found);
    this.#put(changed);
    return changed;
  }

  #put(one: StoredCredential): void {
    this.#byId.set(one.id, one);
    this.#idByName.set(nameOf(one.kind, one.name), one.id);
    const own = this.#byOwner.get(one.ownerId);
    if (own === undefined) this.#byOwner.set(one.ownerId, new Map([[one.id, one]]));
    else own.set(one.id, one);
    this.#ending.add(one);
  }

  #drop(one: StoredCredential | undefined): void {
    if (one === undefined) return;
    this.#byId.delete(one.id);
    this.#idByName.delete(nameOf(one.kind, one.name));
    const own = this.#byOwner.get(one.ownerId);
    own?.delete(one.id);
    if (own?.size === 0) this.#byOwner.delete(one.ownerId);
    this.#ending.remove(one);
  }
}

/** No kind contains a blank. */
function nameOf(kind: string, name: string): string {
  return `${kind} ${name}`;
}
