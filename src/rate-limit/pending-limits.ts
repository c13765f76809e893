import type { MaybePromise } from "../core/maybe-promise.js";
import type { LimitCount, LimitRefusal, PendingLimits } from "../core/pending-limits.js";
import type { StoreCaller } from "../core/store-caller.js";
import type { StoreGuard } from "../stores/health/store-guard.js";
import type { RateLimitStore } from "../stores/contracts.js";
import { SlidingWindowStore } from "../stores/memory/sliding-window/store.js";
import { consumeLimits } from "./consume.js";

/**
 * Whether it pays to keep the limits of this store pending until all are known. In this process a limit costs less than
 * a microsecond, so each one is consumed in its own place; a store without batches takes one limit at a time.
 */
export function supportsBatch(store: RateLimitStore): boolean {
  return !(store instanceof SlidingWindowStore) && store.consumeAll !== undefined;
}

/** The limits of one request, kept in its state until they are consumed together. */
export class BatchedLimits implements PendingLimits {
  readonly store: RateLimitStore;
  readonly onError: (error: unknown) => void;
  readonly #guard: StoreGuard;
  readonly #counts: LimitCount[] = [];

  /** @param onError the `next` of the layer that creates them */
  constructor(store: RateLimitStore, guard: StoreGuard, onError: (error: unknown) => void) {
    this.store = store;
    this.onError = onError;
    this.#guard = guard;
  }

  add(count: LimitCount): void {
    this.#counts.push(count);
  }

  consume(caller: StoreCaller): MaybePromise<LimitRefusal | undefined> {
    return consumeLimits(this.store, this.#guard, this.#counts, caller);
  }
}
