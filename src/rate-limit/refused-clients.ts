import { LRUCache } from "lru-cache";
import type { Clock } from "../core/clock.js";
import { detachString } from "../core/detach-string.js";
import type { LimitCount } from "../core/pending-limits.js";

/** Clients remembered; a flood of more of them finds some forgotten, and those cost a signature each. */
const MOST = 10_000;

/**
 * The clients that a limit has refused and, by its own word, would refuse now. They are asked about before anything is done
 * for them: a signature checked while their limit waits may cost more than the limit itself.
 */
export class RefusedClients {
  readonly #until = new LRUCache<string, number>({ max: MOST });
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  has({ key }: LimitCount): boolean {
    const until = this.#until.get(key);
    return until !== undefined && this.#clock.monotonic() < until;
  }

  /** The same count, whose refusal is remembered. */
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
