import { StoreError } from "../core/portcullis-error.js";
import type { Options, Store } from "express-rate-limit";
import { loadExpressRateLimit } from "../core/dependencies.js";
import type { Clock } from "../core/clock.js";
import type { RateLimitStore, WindowOutcome, WindowPolicy } from "../stores/contracts.js";

/**
 * Adapts any store of express-rate-limit's ecosystem to this library's contract, for one limit. Such a store counts in
 * a fixed window and counts refused requests as well. It therefore keeps its own guarantee, not that of the exact log:
 * up to twice the limit around the end of a window. A cost of n is n increments, one after the other, until the limit
 * is exceeded. Units are taken back by as many decrements, unless their window is over; such a store cannot tell whether
 * the client was reset in between.
 */
export class ThirdPartyStore implements RateLimitStore {
  readonly #store: Store;
  readonly #clock: Clock;
  /** Why the store could not be initialised; every call fails with it. */
  #failure: unknown;
  #failed = false;
  readonly #ready: Promise<void>;

  constructor(store: Store, policy: WindowPolicy, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    // `init` belongs to the contract; it gets express-rate-limit's own options with this limit in them.
    const started = store.init?.(optionsFor(policy));
    this.#ready = Promise.resolve(started).catch((error: unknown) => {
      this.#failed = true;
      this.#failure = error;
    });
  }

  /** Rejects when the store could not be initialised. */
  async ready(): Promise<void> {
    await this.#ready;
    if (this.#failed) throw this.#failure;
  }

  async consume(policy: WindowPolicy, key: string, cost: number): Promise<WindowOutcome> {
    if (this.#failed) throw this.#failure;
    // Such a cost is never accepted, whatever the count, so it needs no increments.
    if (cost > policy.limit) return { allowed: false, used: 0, retryAfterMs: policy.windowMs, resetMs: 0 };
    if (cost === 0) return this.#look(policy, key, 0);
    let { totalHits, resetTime } = await this.#store.increment(key);
    // Once over the limit, the remaining units would not change the answer.
    for (let unit = 1; unit < cost && totalHits <= policy.limit; unit += 1)
      ({ totalHits, resetTime } = await this.#store.increment(key));
    const outcome = this.#outcome(policy, totalHits, resetTime, totalHits <= policy.limit);
    return outcome.allowed ? { ...outcome, recordedAt: this.#clock.now() + outcome.resetMs } : outcome;
  }

  /** @param endsAt when the window of these units ends, in milliseconds since the epoch */
  async refund(_policy: WindowPolicy, key: string, units: number, endsAt: number | string): Promise<number> {
    if (this.#failed) throw this.#failure;
    if (typeof endsAt !== "number" || this.#clock.now() >= endsAt) return 0;
    for (let unit = 0; unit < units; unit += 1) await this.#store.decrement(key);
    return units;
  }

  async peek(policy: WindowPolicy, key: string, cost: number): Promise<WindowOutcome> {
    if (this.#failed) throw this.#failure;
    if (this.#store.get === undefined)
      throw new StoreError("This store of express-rate-limit has no get, so a limit cannot be looked at.");
    return this.#look(policy, key, cost);
  }

  async #look(policy: WindowPolicy, key: string, cost: number): Promise<WindowOutcome> {
    const info = await this.#store.get?.(key);
    if (info === undefined) return { allowed: cost <= policy.limit, used: 0, retryAfterMs: 0, resetMs: 0 };
    return this.#outcome(policy, info.totalHits, info.resetTime, info.totalHits + cost <= policy.limit);
  }

  async reset(_policy: WindowPolicy, key: string): Promise<void> {
    await this.#store.resetKey(key);
  }

  /** The app owns the store and closes it. */
  close(): void {}

  #outcome(policy: WindowPolicy, totalHits: number, resetTime: Date | undefined, allowed: boolean): WindowOutcome {
    // A store that returns invalid values has failed; comparing NaN with the limit would decide at random.
    if (!Number.isFinite(totalHits) || totalHits < 0)
      throw new StoreError("The store did not return a valid totalHits.");
    const resetAt = resetTime instanceof Date ? resetTime.getTime() : NaN;
    const resetMs = Number.isNaN(resetAt) ? policy.windowMs : Math.max(1, resetAt - this.#clock.now());
    return { allowed, used: Math.min(totalHits, policy.limit), retryAfterMs: allowed ? 0 : resetMs, resetMs };
  }
}

/** The options that express-rate-limit itself would pass to `init` for this limit, every default filled in. */
function optionsFor(policy: WindowPolicy): Options {
  let filled: Options | undefined;
  const probe: Store = {
    init: (options) => {
      filled = options;
    },
    increment: () => ({ totalHits: 1, resetTime: undefined }),
    decrement: () => undefined,
    resetKey: () => undefined,
  };
  // Checks of that package that look at how its own middleware is used do not apply: it is never mounted.
  const { rateLimit } = loadExpressRateLimit();
  rateLimit({ windowMs: policy.windowMs, limit: policy.limit, legacyHeaders: false, validate: false, store: probe });
  if (filled === undefined) throw new StoreError("express-rate-limit did not initialise its store.");
  return filled;
}
