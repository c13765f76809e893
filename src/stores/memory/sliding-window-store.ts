import { AsyncLocalStorage } from "node:async_hooks";
import type { ClientRateLimitInfo, Options, Store } from "express-rate-limit";
import type { Clock } from "../../core/clock.js";
import { SetupError } from "../../settings/errors.js";
import { parse } from "../../settings/object.js";
import type { RateLimitStore, WindowOutcome, WindowPolicy } from "../contracts.js";
import { WindowClients } from "./window-clients.js";
import { type SlidingWindowStoreSettings, windowStoreSchema } from "./window-settings.js";

/** How often, and how many slots at a time, expired clients are looked for while no request comes. */
const SWEEP_EVERY_MS = 250;
const SWEEP_SLICE = 4096;

/** What one `increment` did, for the `decrement` of the same request. */
interface Hit {
  readonly key: string;
  /** `undefined` when the hit was refused and so never recorded. */
  readonly time: number | undefined;
}

/**
 * An exact sliding-window log in the memory of this process: in no window of length W are more than N units of one
 * client accepted, and what is refused is not recorded, so a client that keeps knocking is let in when a slot frees.
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
 * does not keep the process alive. Memory is bounded by `maxClients`; see `WindowClients` for what happens beyond.
 */
export class SlidingWindowStore implements RateLimitStore, Store {
  /** Instances share nothing, as express-rate-limit's double-count check wants to know. */
  readonly localKeys = true;
  readonly #clock: Clock;
  readonly #clients: WindowClients;
  readonly #settings: { readonly limit: number | undefined; readonly windowMs: number | undefined };
  #policy: WindowPolicy | undefined;
  /** With a limit that is a function of the request, nothing but this is above every limit. */
  #refusedHits: number | undefined;
  #hits: AsyncLocalStorage<Hit> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @throws SettingsError */
  constructor(settings: SlidingWindowStoreSettings = {}) {
    const { maxClients, clock, limit, windowMs } = parse(windowStoreSchema, settings);
    this.#clock = clock;
    this.#clients = new WindowClients(maxClients, clock);
    this.#settings = { limit, windowMs };
    if (limit !== undefined && windowMs !== undefined) this.#policy = { name: "express-rate-limit", limit, windowMs };
  }

  /** Clients that have a log of their own at this moment, expired ones that are not cleaned up yet among them. */
  get size(): number {
    return this.#clients.clients;
  }

  /** @throws RangeError when `cost` is not a whole number of at least 0 */
  consume(policy: WindowPolicy, key: string, cost: number): WindowOutcome {
    const outcome = this.#clients.decide(policy, key, cost, true);
    if (this.#timer === undefined && outcome.allowed) this.#startTimer();
    return outcome;
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
   * Called by express-rate-limit with its options. It logs what this throws and goes on; every `increment` throws then,
   * so that a limiter set up wrongly is not one that lets everybody in.
   *
   * @throws SetupError when `limit` is a function and the store was given none, or options and store disagree
   */
  init(options: Pick<Options, "windowMs" | "limit"> & Partial<Options>): void {
    this.#policy = undefined;
    const { limit, windowMs } = this.#settings;
    if (windowMs !== undefined && windowMs !== options.windowMs) {
      throw new SetupError("SlidingWindowStore and express-rate-limit were given different windowMs. Leave the store's out.");
    }
    if (typeof options.limit === "number") {
      if (limit !== undefined && limit !== options.limit) {
        throw new SetupError("SlidingWindowStore and express-rate-limit were given different limits. Leave the store's out.");
      }
      this.#refusedHits = options.limit + 1;
      this.#policy = { name: "express-rate-limit", limit: options.limit, windowMs: options.windowMs };
    } else {
      if (limit === undefined) {
        throw new SetupError("express-rate-limit works out a limit function after the store has counted. Give the highest limit as new SlidingWindowStore({ limit }).");
      }
      this.#refusedHits = Number.MAX_SAFE_INTEGER;
      this.#policy = { name: "express-rate-limit", limit, windowMs: options.windowMs };
    }
    const uncounts = options.skipFailedRequests === true || options.skipSuccessfulRequests === true;
    this.#hits = uncounts ? new AsyncLocalStorage<Hit>() : undefined;
  }

  increment(key: string): ClientRateLimitInfo {
    const policy = this.#ownPolicy();
    const { allowed, used, retryAfterMs, resetMs } = this.consume(policy, key, 1);
    // express-rate-limit says later that "this request" is not to count, but not which: its async context does.
    this.#hits?.enterWith({ key, time: allowed ? this.#clients.lastTime : undefined });
    const now = this.#clock.now();
    if (!allowed) return { totalHits: this.#refusedHits ?? policy.limit + 1, resetTime: new Date(Math.ceil(now) + retryAfterMs) };
    return { totalHits: used, resetTime: new Date(this.#hits === undefined ? Math.ceil(now) + resetMs : Math.floor(now) + policy.windowMs) };
  }

  /** Takes back the hit of the request it is called for; outside of one, the client's oldest. */
  decrement(key: string): void {
    const hit = this.#hits?.getStore();
    if (hit?.key !== key) this.#clients.uncount(this.#ownPolicy(), key);
    else if (hit.time !== undefined) this.#clients.uncount(this.#ownPolicy(), key, hit.time);
  }

  /** Forgets one client. */
  resetKey(key: string): void {
    this.reset(this.#ownPolicy(), key);
  }

  /** Forgets everything. */
  resetAll(): void {
    this.#clients.clear();
  }

  get(key: string): ClientRateLimitInfo | undefined {
    const { used, resetMs } = this.peek(this.#ownPolicy(), key, 1);
    return used === 0 ? undefined : { totalHits: used, resetTime: new Date(Math.ceil(this.#clock.now()) + resetMs) };
  }

  /** The same as `close`, by express-rate-limit's name. */
  shutdown(): void {
    this.close();
  }

  #ownPolicy(): WindowPolicy {
    if (this.#policy !== undefined) return this.#policy;
    throw new SetupError("This SlidingWindowStore has no limit: express-rate-limit did not initialise it, or its options were refused.");
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
