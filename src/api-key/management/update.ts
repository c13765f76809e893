import { MANAGE_SCOPE, missingScopes } from "../../core/scopes.js";
import { callerFor } from "../../core/store-caller.js";
import type { KeyChange, StoredApiKey } from "../../stores/contracts.js";
import { callWithoutCircuit } from "../../stores/health/store-guard.js";
import { StoreTime } from "../../stores/health/store-time.js";
import { ApiKeyError } from "../errors.js";
import { readInput, type UpdateApiKeyInput, updateSchema } from "../keys/input.js";
import type { AuditContext } from "../types.js";
import { storeWith, withKeyErrors } from "./guarded-store.js";
import { announceKey, changeableKey, type ManagementParts } from "./parts.js";

/** Changes the fields of keys. */
export class KeyUpdate {
  readonly #parts: ManagementParts;

  constructor(parts: ManagementParts) {
    this.#parts = parts;
  }

  /** See `ApiKeyService.update`. */
  async update(id: string, input: UpdateApiKeyInput, audit: AuditContext): Promise<StoredApiKey> {
    const change = readInput(updateSchema, input);
    const { store, cache, changes, options } = this.#parts;
    const time = new StoreTime(options.storeTimeoutMs);
    const updating = storeWith(store.unguarded, "update");
    const old = await changeableKey(this.#parts, id, time);
    await this.#check(old, change, time);
    if (Object.values(change).every((value) => value === undefined)) return old;
    // An expiry holds for every key made with this one, and they are known by the line.
    const names = new Set(change.expiresAt === undefined ? [id] : [id, old.firstId]);
    const notices = [...names].map((name) => ({ kind: "api-key", name }) as const);
    const publish = async (): Promise<void> => {
      for (const notice of notices) await changes?.publish(notice);
    };
    // Announced before it is written, as a rotation is: otherwise a change that could not be announced would not hold
    // in the other processes.
    await callWithoutCircuit("api-keys", time.begin().ms, publish);
    let isDone: boolean;
    try {
      isDone = await withKeyErrors(
        store.write((_keys, call) => updating.update(id, change, call), callerFor(id), undefined, time),
      );
    } finally {
      for (const name of names) cache.evict(name);
    }
    if (!isDone) {
      await changeableKey(this.#parts, id, time);
      throw new ApiKeyError("not-found");
    }
    // Sooner than by the announcement alone.
    await callWithoutCircuit("api-keys", time.begin().ms, publish).catch(() => undefined);
    announceKey(this.#parts, "authz_change", "updated", old, audit);
    return { ...old, ...definedOf(change) };
  }

  async #check(old: StoredApiKey, { expiresAt, rateLimit }: KeyChange, time: StoreTime): Promise<void> {
    const problem = (path: string, message: string): ApiKeyError =>
      new ApiKeyError("invalid-input", [{ path, message }]);
    if (expiresAt != null && expiresAt <= this.#parts.runtime.clock.now())
      throw problem("expiresAt", "Must be in the future");
    if (rateLimit != null && old.rateLimit !== null && rateLimit.windowSeconds !== old.rateLimit.windowSeconds)
      throw problem("rateLimit.windowSeconds", "Cannot be changed: requests of its lineage are counted in one log");
    // Otherwise a later limit could have another window than the keys that share the log.
    if (rateLimit === null && old.rateLimit !== null && missingScopes(old.scopes, [MANAGE_SCOPE]).length === 0)
      throw problem("rateLimit", "Cannot be removed: keys that the key has created share its limit");
    if (old.path.length === 0 || (expiresAt === undefined && rateLimit === undefined)) return;
    const sharesLog = old.lineage !== old.firstId && old.lineage !== old.id;
    if (sharesLog && rateLimit === null)
      throw problem("rateLimit", "Cannot be removed: the key shares the limit of the key that created it");
    const maker = await this.#makerOf(old, time);
    if (maker === undefined) return;
    if (expiresAt !== undefined && maker.expiresAt !== null && (expiresAt === null || expiresAt > maker.expiresAt))
      throw problem("expiresAt", "Must not be later than the expiry of the key that created it");
    if (sharesLog && rateLimit != null && maker.rateLimit !== null && rateLimit.limit > maker.rateLimit.limit)
      throw problem("rateLimit.limit", "Must not be higher than the limit of the key that created it");
  }

  /** The key that made a key, or the latest of its successors, which have taken over its keys. */
  async #makerOf({ madeBy }: StoredApiKey, time: StoreTime): Promise<StoredApiKey | undefined> {
    let maker: StoredApiKey | undefined;
    for (let next = madeBy; next !== null;) {
      const id = next;
      const found = await withKeyErrors(this.#parts.store.read((keys) => keys.get(id), callerFor(id), time));
      if (found === undefined) break;
      maker = found;
      next = found.rotatedTo;
    }
    return maker;
  }
}

function definedOf(change: KeyChange): KeyChange {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
}
