import type { RequestState } from "../core/request-state.js";
import type { StoreGuard } from "../stores/health/store-guard.js";
import type { LimitCount, PendingLimits } from "../core/pending-limits.js";
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

/** The limits of one request, kept in its state until they are consumed. */
export class BatchedLimits implements PendingLimits {
  readonly store: RateLimitStore;
  readonly forPrincipal: boolean;
  readonly #guard: StoreGuard;
  readonly #state: RequestState;
  readonly #failed: (error: unknown) => void;
  readonly #counts: LimitCount[] = [];

  /** @param failed gets what is thrown while the request goes on */
  constructor(
    store: RateLimitStore,
    guard: StoreGuard,
    state: RequestState,
    forPrincipal: boolean,
    failed: (error: unknown) => void,
  ) {
    this.store = store;
    this.forPrincipal = forPrincipal;
    this.#guard = guard;
    this.#state = state;
    this.#failed = failed;
    state.limits = this;
  }

  add(count: LimitCount): void {
    this.#counts.push(count);
  }

  check(done: () => void): void {
    this.#state.limits = undefined;
    if (this.#counts.length === 0) done();
    else consumeLimits(this.store, this.#guard, this.#counts, this.#state, done, this.#failed);
  }
}
