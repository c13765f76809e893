import { callWithoutCircuit, StoreUnavailableError } from "../../stores/health/store-guard.js";
import { StoreTime } from "../../stores/health/store-time.js";
import { withTimeout } from "../../stores/health/timeout.js";
import type { AuditContext } from "../types.js";
import { storeWith, withKeyErrors } from "./guarded-store.js";
import type { ManagementParts } from "./parts.js";

/**
 * The clocks of two processes may be this far apart, in milliseconds: a call that was refused and is repeated must not end
 * the keys made after a later call that another process, whose clock is behind, has done meanwhile.
 */
const CLOCKS_APART_MS = 10_000;

/** One call that ends all keys of an owner. */
export interface EndOfOwner {
  readonly ownerId: string;
  readonly reason: string;
  /** Id of a key of this owner that stays in force. */
  readonly keep?: string | undefined;
  /** The second of two calls, for what began since the first. */
  readonly isAgain?: boolean | undefined;
}

/** Ends all keys of one owner. */
export class OwnerRevocation {
  readonly #parts: ManagementParts;
  #isClosed = false;

  constructor(parts: ManagementParts) {
    this.#parts = parts;
  }

  /**
   * Resolves when the mark is written and the other processes have been notified.
   *
   * @returns how many keys it ended, when the store says so in time
   * @throws StoreUnavailableError (rejects): this process repeats it until the store has it, or another process has ended
   * the owner's keys
   */
  async end({ ownerId, reason, keep, isAgain = false }: EndOfOwner, audit: AuditContext): Promise<number | undefined> {
    const { store, cache, changes, runtime, unfinished, options } = this.#parts;
    const marking = storeWith(store.unguarded, "revokeAllOf");
    const time = new StoreTime(options.storeTimeoutMs);
    const at = runtime.clock.now();
    const name = nameOf(ownerId);
    // One that spares a key does less than another may: it replaces no waiting retry.
    const succeeded = keep === undefined ? unfinished.replacing(name) : undefined;
    let isAnnounced = isAgain;
    // The order matters: processes that are notified must read the mark.
    const end = async (isRepeated: boolean): Promise<number | undefined> => {
      await store.init();
      const unlessEndedSince = isRepeated ? at - CLOCKS_APART_MS : undefined;
      const count = await marking.revokeAllOf(ownerId, at, reason, { keep, unlessEndedSince });
      cache.evictAllOf(ownerId);
      await changes?.publish({ kind: "owner", name: ownerId });
      if (!isAnnounced) {
        isAnnounced = true;
        runtime.events.emit("authn_token_revoked", () => ({
          source: "api-key",
          reason: "owner",
          ...audit,
          subject: ownerId,
        }));
      }
      return count;
    };
    let call: Promise<number | undefined> | undefined;
    try {
      const count = await withKeyErrors(
        callWithoutCircuit("api-keys", options.storeTimeoutMs, () => (call = end(false))),
      );
      succeeded?.();
      return count ?? (isAgain ? undefined : await this.#writeEnds(ownerId, time));
    } catch (error) {
      if (error instanceof StoreUnavailableError && !(keep !== undefined && unfinished.isWaitingFor(name)))
        unfinished.add(name, () => end(true), call);
      throw error;
    } finally {
      cache.evictAllOf(ownerId);
    }
  }

  close(): void {
    this.#isClosed = true;
  }

  /** Writes the ends into the records, also after the time is over. Returns their number if it is known in time. */
  async #writeEnds(ownerId: string, { deadline }: StoreTime): Promise<number | undefined> {
    let count = 0;
    const written = this.#parts.store.unguarded.writeEndsOf?.(ownerId, (more) => {
      count += more;
      return !this.#isClosed;
    });
    if (written === undefined) return undefined;
    // A failure changes nothing: the mark has ended the keys.
    return withTimeout(written, Math.max(1, deadline - performance.now()), { keepsAlive: false }).then(
      () => count,
      () => undefined,
    );
  }
}

function nameOf(ownerId: string): string {
  return `owner ${ownerId}`;
}

/**
 * For a new key: repeats a refused end of all keys of its owner, so that it ends only keys that exist before.
 *
 * @throws StoreUnavailableError (rejects) when it is refused again
 */
export async function settleOwner({ unfinished, options }: ManagementParts, ownerId: string): Promise<void> {
  const repetition = unfinished.doNow(nameOf(ownerId));
  if (repetition !== undefined) await callWithoutCircuit("api-keys", options.storeTimeoutMs, () => repetition);
}
