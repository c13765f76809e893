import type { Store } from "express-rate-limit";
import type { Clock } from "../../../core/clock.js";
import { parse } from "../../../settings/object.js";
import type { RateLimitStore, WindowOutcome, WindowPolicy, WindowRequest } from "../../contracts.js";
import { ExpressRateLimitStore, type HitOutcome } from "../../express-rate-limit-store.js";
import { mergeRequests } from "../../window-requests.js";
import { Clients } from "./clients.js";
import { type SlidingWindowStoreSettings, windowStoreSchema } from "./settings.js";

/** How often, and how many slots at a time, the store checks for expired clients while no request arrives. */
const SWEEP_EVERY_MS = 250;
const SWEEP_SLICE = 4096;

/**
 * An exact sliding-window log in the memory of this process: no window of length W contains more than N accepted units
 * of one client. Refused requests are not recorded, so a client that keeps trying is accepted as soon as a slot is
 * free.
 *
 * It is the store of this library's limiter (`consume`, `peek`, `reset`), and at the same time a `Store` of
 * express-rate-limit, exact there too:
 *
 *     rateLimit({ windowMs: 60_000, limit: 100, store: new SlidingWindowStore() })
 *
 * There a refused request reports `totalHits` one above the limit and, as `resetTime`, when a slot frees.
 *
 * Time is measured by a monotonic clock. Expired clients are removed a few at a time by every call, and by a timer that
 * does not keep the process alive. Memory is bounded by `maxClients`; see `Clients` for what happens beyond.
 *
 * @example
 * ```ts
 * import { SlidingWindowStore } from "portcullis";
 *
 * const store = new SlidingWindowStore({ maxClients: 10_000 });
 * const { allowed, retryAfterMs } = store.consume({ name: "search", limit: 5, windowMs: 1000 }, "ada", 1);
 * ```
 */
export class SlidingWindowStore extends ExpressRateLimitStore<"sync", number> implements RateLimitStore, Store {
  /** Instances share nothing; express-rate-limit's double-count check reads this. */
  readonly localKeys = true;
  readonly #clock: Clock;
  readonly #clients: Clients;
  #timer: NodeJS.Timeout | undefined;

  /** @throws SettingsError */
  constructor(settings: SlidingWindowStoreSettings = {}) {
    const { maxClients, clock, limit, windowMs } = parse(windowStoreSchema, settings);
    super({ name: "SlidingWindowStore", mode: "sync", limit, windowMs });
    this.#clock = clock;
    this.#clients = new Clients(maxClients, clock);
  }

  /** Clients that have a log of their own at this moment, including expired ones that are not removed yet. */
  get size(): number {
    return this.#clients.clients;
  }

  /** @throws RangeError when `cost` is not a whole number of at least 0 */
  consume(policy: WindowPolicy, key: string, cost: number, isRefundable = false): WindowOutcome {
    const outcome = this.#clients.decide(policy, key, cost, true);
    if (this.#timer === undefined && outcome.allowed) this.#startTimer();
    return isRefundable && outcome.allowed && cost > 0 ? { ...outcome, recordedAt: this.lastRecordedAt } : outcome;
  }

  /** The `recordedAt` of the units recorded last, for a caller that did not ask `consume` for it. */
  get lastRecordedAt(): number {
    return this.#clients.lastReceipt;
  }

  /** @throws RangeError when a cost is not a whole number of at least 0 */
  consumeAll(requests: readonly WindowRequest[], isRefundable = false): readonly WindowOutcome[] {
    const { merged, places } = mergeRequests(requests);
    const outcomes = this.#clients.decideAll(merged, isRefundable);
    if (this.#timer === undefined && !this.#clients.isEmpty) this.#startTimer();
    return places.map((place) => outcomes[place]!);
  }

  /** @throws RangeError when `cost` is not a whole number of at least 0 */
  peek(policy: WindowPolicy, key: string, cost: number): WindowOutcome {
    return this.#clients.decide(policy, key, cost, false);
  }

  /** Takes back units that `recordedAt` names, in this window only. Returns how many. */
  refund(policy: WindowPolicy, key: string, units: number, recordedAt: number | string): number {
    return typeof recordedAt === "number" ? this.#clients.refund(policy, key, units, recordedAt) : 0;
  }

  /** Forgets one client. Its part of an overflow window stays: others count there too. */
  reset(policy: WindowPolicy, key: string): void {
    this.#clients.forget(policy.name, key);
  }

  /** Forgets everything and stops the timer. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#clients.clear();
  }

  /** Forgets everything. */
  resetAll(): void {
    this.#clients.clear();
  }

  /** @internal */
  protected override consumeOne(policy: WindowPolicy, key: string, isTimed: boolean): HitOutcome<number> {
    return this.consume(policy, key, 1, isTimed) as HitOutcome<number>;
  }

  /** @internal */
  protected override refundOne(policy: WindowPolicy, key: string, recordedAt?: number): void {
    if (recordedAt === undefined) this.#clients.refundOldest(policy, key);
    else this.#clients.refund(policy, key, 1, recordedAt);
  }

  /** @internal */
  protected override now(): number {
    return this.#clock.now();
  }

  #startTimer(): void {
    this.#timer = setInterval(() => {
      this.#clients.sweep(SWEEP_SLICE);
      if (!this.#clients.isEmpty) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    }, SWEEP_EVERY_MS).unref();
  }
}
