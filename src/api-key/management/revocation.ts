import { BoundedCache } from "../../core/bounded-cache.js";
import { faultOf } from "../../stores/health/store-fault.js";
import { callWithoutCircuit } from "../../stores/health/store-guard.js";
import type { StoredApiKey } from "../../stores/contracts.js";
import { isKeyId } from "../keys/format.js";
import { readInput, type RevokeApiKeyInput, revokeSchema } from "../keys/input.js";
import type { AuditContext } from "../types.js";
import { announceKey, type ManagementParts, TRACKED } from "./parts.js";

/**
 * A revocation in progress, or one that was refused and is being retried. Concurrent calls that revoke the same key
 * share it.
 */
interface Revocation {
  /** The `revokedAt` that it writes, also in a retry. It identifies the revocation in the record. */
  readonly at: number;
  isAnnounced: boolean;
  wasRefused: boolean;
}

/** Ends keys. */
export class KeyRevocation {
  readonly #parts: ManagementParts;
  /** By the id of the key. */
  readonly #revocations = new BoundedCache<Revocation>({ max: TRACKED.revocations, ttl: TRACKED.forMs });

  constructor(parts: ManagementParts) {
    this.#parts = parts;
  }

  /** See `ApiKeyService.revoke`. */
  async revoke(id: string, input: RevokeApiKeyInput, audit: AuditContext): Promise<boolean> {
    const { reason, descendants } = readInput(revokeSchema, input);
    if (!isKeyId(id)) return false;
    const revocation = this.#revocations.get(id) ?? {
      at: this.#parts.runtime.clock.now(),
      isAnnounced: false,
      wasRefused: false,
    };
    this.#revocations.set(id, revocation);
    // The order matters: processes that are notified must read the revoked key.
    const revoke = async (): Promise<boolean> => {
      await this.#parts.store.init();
      const isDone =
        (await this.#parts.store.unguarded.revoke(id, revocation.at, reason, descendants)) ||
        (revocation.wasRefused && (await this.#isDone(revocation, id, descendants)));
      if (isDone && !revocation.isAnnounced) {
        revocation.isAnnounced = true;
        announceKey(this.#parts, "authn_token_revoked", "revoked", { id }, audit);
      }
      // Publish even when the key was already revoked: the call that revoked it may have failed before this point.
      await this.#publishEnding(id);
      return isDone;
    };
    try {
      // The time-out covers all calls together, without a guard: a revocation is attempted even while the store counts
      // as down.
      const isDone = await callWithoutCircuit("api-keys", this.#parts.options.storeTimeoutMs, revoke);
      this.#revocations.delete(id);
      return isDone;
    } catch (error) {
      if (faultOf(error) === "input") {
        this.#revocations.delete(id);
        throw error;
      }
      revocation.wasRefused = true;
      // The store may or may not have revoked the key; retry until it has. A call for the key alone does not replace one
      // that includes the descendants.
      this.#parts.unfinished.add(descendants ? `${id} and descendants` : id, async () => {
        await revoke();
        this.#parts.cache.evict(id);
      });
      throw error;
    } finally {
      // Evict after a time-out too: the store may have revoked the key.
      this.#parts.cache.evict(id);
    }
  }

  /**
   * Whether an earlier, refused revocation is the reason why the store found the key already revoked. With descendants
   * the mark is not in the key's record, so any existing key counts.
   */
  async #isDone({ at }: Revocation, id: string, descendants: boolean): Promise<boolean> {
    const stored = await this.#readable(id);
    return stored !== undefined && (stored.revokedAt === at || descendants);
  }

  /** Makes every process read this key, and the keys that were ended with it, from the store again. */
  async #publishEnding(id: string): Promise<void> {
    const line = (await this.#readable(id))?.firstId ?? id;
    this.#parts.cache.evict(line);
    for (const name of new Set([id, line])) await this.#parts.changes?.publish({ kind: "api-key", name });
  }

  /** Returns the record of a key; `undefined` for a damaged record, whose key is revoked all the same. */
  async #readable(id: string): Promise<StoredApiKey | undefined> {
    try {
      return await this.#parts.store.unguarded.get(id);
    } catch (error) {
      if (faultOf(error) === "record") return undefined;
      throw error;
    }
  }
}
