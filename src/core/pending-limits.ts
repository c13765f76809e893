import type { MaybePromise } from "./maybe-promise.js";
import type { WindowOutcome, WindowRequest } from "./rate-limits.js";
import type { Refusal } from "./response/problem.js";
import type { StoreCaller } from "./store-caller.js";

/** The refusal of a request by one of its limits. */
export interface LimitRefusal {
  /** The source that the event names. */
  readonly source: string;
  readonly refusal: Refusal;
}

/** One limit, and what this request adds to its counts. */
export interface LimitCount {
  /** What is counted, in one window or in several. */
  readonly requests: readonly WindowRequest[];
  /** Applies the outcomes from the store, one for each of the requests; returns a refusal when the limit is exhausted. */
  applyOutcomes(outcomes: readonly WindowOutcome[]): MaybePromise<LimitRefusal | undefined>;
  /** Decides without the store, which has failed. */
  onStoreFailure(): MaybePromise<LimitRefusal | undefined>;
}

/**
 * The limits that a request meets on its way to the app, collected until all of them are known. A store outside this
 * process receives them together, in one round trip, and counts the request in all of them or in none.
 *
 * Layers only add to them. The pipeline checks them before a layer does costly work and before the request goes on to
 * the app, and `refuse` before a refusal is sent; both do it with `checkLimits`.
 */
export interface PendingLimits {
  /** The store that counts them. */
  readonly store: object;
  add(count: LimitCount): void;
  /** Counts the request in all of them. Resolves with the refusal of the first one that is exhausted. */
  consume(caller: StoreCaller): MaybePromise<LimitRefusal | undefined>;
  /** Gets what is thrown while a refusal is sent after the check, for the app's error handling. */
  onError(error: unknown): void;
}
