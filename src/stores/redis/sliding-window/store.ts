import { AsyncLocalStorage } from "node:async_hooks";
import type { ClientRateLimitInfo, Store } from "express-rate-limit";
import { parse } from "../../../settings/object.js";
import type { RateLimitStore, WindowOutcome, WindowPolicy, WindowRequest } from "../../contracts.js";
import {
  noLimit,
  type StandaloneLimit,
  standaloneLimit,
  type ExpressRateLimitSettings,
  standalonePolicy,
} from "../../express-rate-limit.js";
import { type RedisSlidingWindowStoreSettings, redisWindowStoreSchema } from "./settings.js";
import { RedisWindows } from "./client.js";

/** The result of one `increment`, for the `decrement` of the same request. */
interface Hit {
  readonly key: string;
  /**
   * The time of its record, in microseconds of Redis' clock; `undefined` when it was refused and therefore not
   * recorded.
   */
  recordedAt?: string | undefined;
}

/**
 * An exact sliding-window log in Redis, shared by all processes: no window of length W contains more than N accepted
 * units of one client, and refused requests are not recorded. Each decision is one script and one round trip, on Redis'
 * own clock. Redis 6.2 or later, or Valkey; standalone, Sentinel or Cluster.
 *
 * It is the store of this library's limiter (`consume`, `peek`, `consumeAll`, `reset`), and at the same time a `Store`
 * of express-rate-limit:
 *
 *     rateLimit({ windowMs: 60_000, limit: 100, store: new RedisSlidingWindowStore({ redis: "redis://127.0.0.1" }) })
 *
 * There two limiters on one Redis need a `prefix` each, or they count together. A refused request reports `totalHits`
 * one above the limit and, as `resetTime`, when a slot frees.
 *
 * This store waits for Redis as long as the client does: the limiter of this library bounds each call by
 * `storeTimeoutMs`; express-rate-limit does not.
 *
 * @example
 * ```ts
 * import express from "express";
 * import { rateLimiter, RedisSlidingWindowStore } from "portcullis";
 *
 * const app = express();
 * app.use(rateLimiter({ store: new RedisSlidingWindowStore({ redis: "redis://localhost:6379" }) }));
 * ```
 */
export class RedisSlidingWindowStore implements RateLimitStore, Store {
  /** Instances count together; express-rate-limit's double-count check reads this. */
  readonly localKeys = false;
  readonly prefix: string;
  readonly #windows: RedisWindows;
  readonly #own: { readonly limit: number | undefined; readonly windowMs: number | undefined };
  #limit: StandaloneLimit | undefined;
  #hits: AsyncLocalStorage<Hit> | undefined;

  /** @throws SettingsError */
  constructor(settings: RedisSlidingWindowStoreSettings) {
    const { redis, prefix, maxRecords, limit, windowMs } = parse(redisWindowStoreSchema, settings);
    this.prefix = prefix;
    this.#windows = new RedisWindows(redis, prefix, maxRecords);
    this.#own = { limit, windowMs };
    if (limit !== undefined && windowMs !== undefined) {
      this.#limit = { policy: standalonePolicy(limit, windowMs), refusedHits: limit + 1, uncounts: false };
    }
  }

  /** Resolves when Redis answers; rejects with the reason why not. */
  ready(): Promise<void> {
    return this.#windows.redis.ready();
  }

  /** Rejects with a RangeError when `cost` is not a whole number of at least 0. */
  consume(policy: WindowPolicy, key: string, cost: number): Promise<WindowOutcome> {
    return this.#windows.decide(policy, key, cost, true);
  }

  /** Rejects with a RangeError when `cost` is not a whole number of at least 0. */
  peek(policy: WindowPolicy, key: string, cost: number): Promise<WindowOutcome> {
    return this.#windows.decide(policy, key, cost, false);
  }

  /** Rejects with a RangeError when a cost is not a whole number of at least 0. */
  consumeAll(requests: readonly WindowRequest[]): Promise<readonly WindowOutcome[]> {
    return this.#windows.decideAll(requests);
  }

  reset(policy: WindowPolicy, key: string): Promise<void> {
    return this.#windows.forget(policy, key);
  }

  /** Closes the connection when it was created from a URL. The counts stay in Redis. */
  close(): Promise<void> {
    return this.#windows.redis.close();
  }

  /**
   * express-rate-limit calls this with its options. It logs what this throws and goes on; every `increment` rejects
   * then, so that a misconfigured limiter does not accept every request.
   *
   * @throws SetupError when `limit` is a function and the store was given none, or options and store disagree
   */
  init(options: ExpressRateLimitSettings): void {
    this.#limit = undefined;
    this.#limit = standaloneLimit("RedisSlidingWindowStore", options, this.#own);
    this.#hits = this.#limit.uncounts ? new AsyncLocalStorage<Hit>() : undefined;
  }

  async increment(key: string): Promise<ClientRateLimitInfo> {
    const { policy, refusedHits } = this.#standalone();
    // Before the first `await`: express-rate-limit says later that "this request" is not to count, but not which one;
    // its async context identifies it.
    const hit: Hit = { key };
    this.#hits?.enterWith(hit);
    const outcome = await (this.#hits === undefined
      ? this.#windows.decide(policy, key, 1, true)
      : this.#decideFor(hit, policy));
    const { allowed, used, retryAfterMs, resetMs } = outcome;
    const now = Date.now();
    if (!allowed) return { totalHits: refusedHits, resetTime: new Date(now + retryAfterMs) };
    // That package does not refund after `resetTime`; a request's own record leaves the window at its end.
    return { totalHits: used, resetTime: new Date(now + (this.#hits === undefined ? resetMs : policy.windowMs)) };
  }

  /** Takes back the hit of the current request; outside of a request, the client's oldest. */
  async decrement(key: string): Promise<void> {
    const { policy } = this.#standalone();
    const hit = this.#hits?.getStore();
    if (hit?.key !== key) await this.#windows.refund(policy, key, 1, "");
    else if (hit.recordedAt !== undefined) await this.#windows.refund(policy, key, 1, hit.recordedAt);
  }

  /** Forgets one client. */
  resetKey(key: string): Promise<void> {
    return this.reset(this.#standalone().policy, key);
  }

  async get(key: string): Promise<ClientRateLimitInfo | undefined> {
    const { used, resetMs } = await this.peek(this.#standalone().policy, key, 1);
    return used === 0 ? undefined : { totalHits: used, resetTime: new Date(Date.now() + resetMs) };
  }

  /** `close`, by express-rate-limit's name. */
  shutdown(): Promise<void> {
    return this.close();
  }

  async #decideFor(hit: Hit, policy: WindowPolicy): Promise<WindowOutcome> {
    const { recordedAt, ...outcome } = await this.#windows.decideTimed(policy, hit.key, 1);
    if (outcome.allowed) hit.recordedAt = recordedAt;
    return outcome;
  }

  #standalone(): StandaloneLimit {
    return this.#limit ?? noLimit("RedisSlidingWindowStore");
  }
}
