import type { WindowOutcome, WindowRequest } from "./rate-limits.js";

/** One limit, and what this request is to count in it. */
export interface LimitCount extends WindowRequest {
  /** Deals with what the store says. True when the request has been answered. */
  applyOutcome(outcome: WindowOutcome): boolean;
  /** Deals with a store that failed. True when the request has been answered. */
  onStoreFailure(): boolean;
}

/**
 * The limits a request meets on its way to the app, kept until all of them are known: they go to a store outside this
 * process together, in one round trip, and count the request all or not at all.
 *
 * Whoever does something costly on behalf of the request, answers it, or lets it go on to the app settles them first;
 * cheap decisions (a signature, a remembered key) are made while they wait.
 */
export interface PendingLimits {
  /** Where they count. */
  readonly store: object;
  /** Whether a limit by principal is to come: who the caller is gets found out first, by loading a session too. */
  readonly forPrincipal: boolean;
  add(count: LimitCount): void;
  /** Asks the store, once. `done` runs when every limit lets the request pass; otherwise it has been answered. */
  check(done: () => void): void;
}
