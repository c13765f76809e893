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

  has(count: LimitCount): boolean {
    const until = this.#until.get(keyOf(count));
    return until !== undefined && this.#clock.monotonic() < until;
  }

  /** The same count, with its refusal remembered. */
  track(count: LimitCount): LimitCount {
    return {
      ...count,
      applyOutcomes: (outcomes) => {
        const wait = Math.max(...outcomes.map(({ retryAfterMs }) => retryAfterMs));
        if (wait > 0) this.#until.set(detachString(keyOf(count)), this.#clock.monotonic() + wait);
        return count.applyOutcomes(outcomes);
      },
    };
  }
}

/** All requests of a limit are for one client. */
function keyOf({ requests: [first] }: LimitCount): string {
  return first?.key ?? "";
}
