import { BoundedCache } from "../core/bounded-cache.js";
import type { Clock } from "../core/clock.js";
import { detachString } from "../core/detach-string.js";
import type { LimitCount } from "../core/pending-limits.js";

/** Clients remembered; a flood of more clients evicts some, and each evicted client costs one signature check. */
const MOST = 10_000;

/**
 * The clients that a limit has refused and, by its own answer, would refuse now. This is checked before any work for
 * them: checking a signature while their limit is pending may cost more than the limit itself.
 */
export class RefusedClients {
  readonly #until = new BoundedCache<number>({ max: MOST });
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  has({ key }: LimitCount): boolean {
    const until = this.#until.get(key);
    return until !== undefined && this.#clock.monotonic() < until;
  }

  /** The same count, with its refusal remembered. */
  track(count: LimitCount): LimitCount {
    return {
      ...count,
      applyOutcome: (outcome) => {
        if (!outcome.allowed) this.#until.set(detachString(count.key), this.#clock.monotonic() + outcome.retryAfterMs);
        return count.applyOutcome(outcome);
      },
    };
  }
}
