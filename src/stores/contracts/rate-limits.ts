import type { WindowOutcome, WindowPolicy, WindowRequest } from "../../core/rate-limits.js";

/**
 * An exact sliding-window log. A refused request is not recorded. In the costs, `r` is how many records of one client
 * the store keeps: at most `limit`, and at most a number of the store's own, whatever the limit. A larger `cost` and
 * more clients add nothing.
 */
export interface RateLimitStore {
  /**
   * Records `cost` units under `key` if they fit in the window; otherwise records nothing. Atomic. Cost: O(r).
   *
   * @param isRefundable whether the outcome has a `recordedAt`, in a store that has `refund`
   */
  consume(
    policy: WindowPolicy,
    key: string,
    cost: number,
    isRefundable?: boolean,
  ): WindowOutcome | Promise<WindowOutcome>;
  /**
   * Checks several limits at once, in one round trip: records every cost if each fits its own limit; otherwise records
   * nothing. The outcomes are in the order of the requests, and each says what its own limit allows: when one limit
   * refuses, the `used` of the others does not include this request. The same policy and key twice count as one request
   * with the sum of the costs.
   *
   * On Redis Cluster this is atomic if all keys are the same text. Otherwise each key is decided by itself, at the same
   * time, and recorded costs are taken back when another key refuses. A limit is then never exceeded, but in between a
   * concurrent request may see less room than there is.
   *
   * Cost: O(r) for each request.
   *
   * @param isRefundable whether the outcomes have a `recordedAt`, in a store that has `refund`
   */
  consumeAll?(
    requests: readonly WindowRequest[],
    isRefundable?: boolean,
  ): readonly WindowOutcome[] | Promise<readonly WindowOutcome[]>;
  /**
   * Takes back `units` of the units that `recordedAt` names, and no others. Units that have left the window, or were
   * forgotten by `reset` or by a loss of the store, are not taken back. The caller takes no unit back twice.
   *
   * Resolves with the number of units taken back. Cost: O(r).
   */
  refund?(policy: WindowPolicy, key: string, units: number, recordedAt: number | string): number | Promise<number>;
  /** Returns what `consume` would return, and records nothing. Cost: O(r). */
  peek(policy: WindowPolicy, key: string, cost: number): WindowOutcome | Promise<WindowOutcome>;
  /** Forgets one key. Cost: O(r). */
  reset(policy: WindowPolicy, key: string): void | Promise<void>;
  /** Stops timers and closes the connections that the store opened itself. */
  close(): void | Promise<void>;
}
