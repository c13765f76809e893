import { AsyncLocalStorage } from "node:async_hooks";
import type { ClientRateLimitInfo, Store } from "express-rate-limit";
import type { Clock } from "../../../core/clock.js";
import { parse } from "../../../settings/object.js";
import type { RateLimitStore, WindowOutcome, WindowPolicy, WindowRequest } from "../../contracts.js";
import {
  noLimit,
  type StandaloneLimit,
  standaloneLimit,
  type ExpressRateLimitSettings,
  standalonePolicy,
} from "../../express-rate-limit.js";
import { mergeRequests } from "../../window-requests.js";
import { Clients } from "./clients.js";
import { type SlidingWindowStoreSettings, windowStoreSchema } from "./settings.js";

/** How often, and how many slots at a time, the store checks for expired clients while no request arrives. */
const SWEEP_EVERY_MS = 250;
const SWEEP_SLICE = 4096;

/** The result of one `increment`, for the `decrement` of the same request. */
interface Hit {
  readonly key: string;
  /** `undefined` when the hit was refused and therefore not recorded. */
  readonly time: number | undefined;
}

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
 * There a refused request reports `totalHits` one above the limit and, as `resetTime`, when a slot frees. With
 * `skipFailedRequests` or `skipSuccessfulRequests` an accepted one reports when its own record leaves the window: that
 * package un-counts nothing after `resetTime`, and un-counts refused requests too, so each `decrement` is traced back
 * to its own request.
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
export class SlidingWindowStore implements RateLimitStore, Store {
  /** Instances share nothing; express-rate-limit's double-count check reads this. */
  readonly localKeys = true;
  readonly #clock: Clock;
  readonly #clients: Clients;
  readonly #settings: { readonly limit: number | undefined; readonly windowMs: number | undefined };
  #limit: StandaloneLimit | undefined;
  #hits: AsyncLocalStorage<Hit> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @throws SettingsError */
  constructor(settings: SlidingWindowStoreSettings = {}) {
    const { maxClients, clock, limit, windowMs } = parse(windowStoreSchema, settings);
    this.#clock = clock;
    this.#clients = new Clients(maxClients, clock);
    this.#settings = { limit, windowMs };
    if (limit !== undefined && windowMs !== undefined) {
      this.#limit = { policy: standalonePolicy(limit, windowMs), refusedHits: limit + 1, uncounts: false };
    }
  }

  /** Clients that have a log of their own at this moment, including expired ones that are not removed yet. */
  get size(): number {
    return this.#clients.clients;
  }

  /** @throws RangeError when `cost` is not a whole number of at least 0 */
  consume(policy: WindowPolicy, key: string, cost: number): WindowOutcome {
    const outcome = this.#clients.decide(policy, key, cost, true);
    if (this.#timer === undefined && outcome.allowed) this.#startTimer();
    return outcome;
  }

  /** @throws RangeError when a cost is not a whole number of at least 0 */
  consumeAll(requests: readonly WindowRequest[]): readonly WindowOutcome[] {
    const { merged, places } = mergeRequests(requests);
    const outcomes = this.#clients.decideAll(merged);
    if (this.#timer === undefined && !this.#clients.isEmpty) this.#startTimer();
    return places.map((place) => outcomes[place]!);
  }

  /** @throws RangeError when `cost` is not a whole number of at least 0 */
  peek(policy: WindowPolicy, key: string, cost: number): WindowOutcome {
    return this.#clients.decide(policy, key, cost, false);
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

  /**
   * express-rate-limit calls this with its options. It logs what this throws and goes on; every `increment` throws
   * then, so that a misconfigured limiter does not accept every request.
   *
   * @throws SetupError when `limit` is a function and the store was given none, or options and store disagree
   */
  init(options: ExpressRateLimitSettings): void {
    this.#limit = undefined;
    this.#limit = standaloneLimit("SlidingWindowStore", options, this.#settings);
    this.#hits = this.#limit.uncounts ? new AsyncLocalStorage<Hit>() : undefined;
  }

  increment(key: string): ClientRateLimitInfo {
    const { policy, refusedHits } = this.#standalone();
    const { allowed, used, retryAfterMs, resetMs } = this.consume(policy, key, 1);
    // express-rate-limit says later that "this request" is not to count, but not which one; its async context
    // identifies it.
    this.#hits?.enterWith({ key, time: allowed ? this.#clients.lastTime : undefined });
    const now = this.#clock.now();
    if (!allowed) return { totalHits: refusedHits, resetTime: new Date(Math.ceil(now) + retryAfterMs) };
    return {
      totalHits: used,
      resetTime: new Date(this.#hits === undefined ? Math.ceil(now) + resetMs : Math.floor(now) + policy.windowMs),
    };
  }

  /** Takes back the hit of the current request; outside of a request, the client's oldest. */
  decrement(key: string): void {
    const hit = this.#hits?.getStore();
    if (hit?.key !== key) this.#clients.uncount(this.#standalone().policy, key);
    else if (hit.time !== undefined) this.#clients.uncount(this.#standalone().policy, key, hit.time);
  }

  /** Forgets one client. */
  resetKey(key: string): void {
    this.reset(this.#standalone().policy, key);
  }

  /** Forgets everything. */
  resetAll(): void {
    this.#clients.clear();
  }

  get(key: string): ClientRateLimitInfo | undefined {
    const { used, resetMs } = this.peek(this.#standalone().policy, key, 1);
    return used === 0 ? undefined : { totalHits: used, resetTime: new Date(Math.ceil(this.#clock.now()) + resetMs) };
  }

  /** `close`, by express-rate-limit's name. */
  shutdown(): void {
    this.close();
  }

  #standalone(): StandaloneLimit {
    return this.#limit ?? noLimit("SlidingWindowStore");
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
