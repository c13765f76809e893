import type { WindowOutcome, WindowRequest } from "./rate-limits.js";

/** One limit, and what this request adds to its count. */
export interface LimitCount extends WindowRequest {
  /** Applies the outcome from the store. True when the request has been answered. */
  applyOutcome(outcome: WindowOutcome): boolean;
  /** Handles a failure of the store. True when the request has been answered. */
  onStoreFailure(): boolean;
}

/**
 * The limits that a request meets on its way to the app, collected until all of them are known. A store outside this
 * process receives them together, in one round trip, and counts the request in all of them or in none.
 *
 * Code that does costly work for the request, answers it or lets it go on to the app calls `check` first. Cheap
 * decisions (a signature, a cached key) are made while the limits wait.
 */
export interface PendingLimits {
  /** The store that counts them. */
  readonly store: object;
  /**
   * Whether a limit by principal follows. The caller is then authenticated first, if necessary by loading a session.
   */
  readonly forPrincipal: boolean;
  add(count: LimitCount): void;
  /**
   * Asks the store, once. Calls `done` when every limit allows the request; otherwise the request has been answered.
   */
  check(done: () => void): void;
}
