import type { StoreGuard } from "../stores/health/store-guard.js";
import type { MaybePromise } from "../core/maybe-promise.js";
import { mapMaybe, orElse } from "../core/maybe-promise.js";
import type { RateLimitStore, WindowPolicy, WindowRequest } from "../stores/contracts.js";

/**
 * A block of a client: one unit in a log whose window is the length of the block. A client is blocked while the unit is
 * there.
 */
export class Block {
  /** The log, for a client that is to be blocked. */
  readonly policy: WindowPolicy;
  /** The same log, for a check: it allows a cost of 0 only while the log is empty. */
  readonly #check: WindowPolicy;
  readonly #ms: number;

  /** @param name of the limit in the store */
  constructor(name: string, seconds: number) {
    this.#ms = seconds * 1000;
    // Clients for whom there is no room share windows, but a block is for one client: there is none without room.
    const log = { name: `${name}:block`, windowMs: this.#ms, isUnshared: true };
    this.policy = Object.freeze({ ...log, limit: 1 });
    this.#check = Object.freeze({ ...log, limit: 0, maxLimit: 1 });
  }

  /** What to ask the store, together with the counts of the limit. */
  check(key: string): WindowRequest {
    return { policy: this.#check, key, cost: 0 };
  }

  /**
   * Blocks a client, unless it is blocked already. Resolves with the milliseconds that the block lasts, 0 when the store
   * did not record it.
   */
  begin(store: RateLimitStore, guard: StoreGuard | undefined, key: string): MaybePromise<number> {
    const consume = () => store.consume(this.policy, key, 1);
    return orElse(
      () =>
        mapMaybe(guard === undefined ? consume() : guard.run(consume), ({ allowed, retryAfterMs }) =>
          allowed ? this.#ms : retryAfterMs,
        ),
      () => 0,
    );
  }
}
