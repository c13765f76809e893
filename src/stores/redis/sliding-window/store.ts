import type { Store } from "express-rate-limit";
import { parse } from "../../../settings/object.js";
import type { RateLimitStore, WindowOutcome, WindowPolicy, WindowRequest } from "../../contracts.js";
import { ExpressRateLimitStore, type HitOutcome } from "../../express-rate-limit-store.js";
import { type RedisSlidingWindowStoreSettings, redisWindowStoreSchema } from "./settings.js";
import { RedisWindows } from "./client.js";

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
export class RedisSlidingWindowStore extends ExpressRateLimitStore<"async", string> implements RateLimitStore, Store {
  /** Instances count together; express-rate-limit's double-count check reads this. */
  readonly localKeys = false;
  readonly prefix: string;
  readonly #windows: RedisWindows;

  /** @throws SettingsError */
  constructor(settings: RedisSlidingWindowStoreSettings) {
    const { redis, prefix, maxRecords, limit, windowMs } = parse(redisWindowStoreSchema, settings);
    super({ name: "RedisSlidingWindowStore", mode: "async", limit, windowMs });
    this.prefix = prefix;
    this.#windows = new RedisWindows(redis, prefix, maxRecords);
  }

  /** Resolves when Redis answers; rejects with the reason why not. */
  ready(): Promise<void> {
    return this.#windows.redis.ready();
  }

  /** Rejects with a RangeError when `cost` is not a whole number of at least 0. */
  consume(policy: WindowPolicy, key: string, cost: number, isRefundable = false): Promise<WindowOutcome> {
    return isRefundable ? this.#windows.decideTimed(policy, key, cost) : this.#windows.decide(policy, key, cost, true);
  }

  /** Rejects with a RangeError when `cost` is not a whole number of at least 0. */
  peek(policy: WindowPolicy, key: string, cost: number): Promise<WindowOutcome> {
    return this.#windows.decide(policy, key, cost, false);
  }

  /** Rejects with a RangeError when a cost is not a whole number of at least 0. */
  consumeAll(requests: readonly WindowRequest[], isRefundable = false): Promise<readonly WindowOutcome[]> {
    return this.#windows.decideAll(requests, isRefundable);
  }

  /** Takes back units that `recordedAt` names, in this window only. Resolves with their number. */
  refund(policy: WindowPolicy, key: string, units: number, recordedAt: number | string): Promise<number> {
    return this.#windows.refund(policy, key, units, String(recordedAt));
  }

  reset(policy: WindowPolicy, key: string): Promise<void> {
    return this.#windows.forget(policy, key);
  }

  /** Closes the connection when it was created from a URL. The counts stay in Redis. */
  close(): Promise<void> {
    return this.#windows.redis.close();
  }

  /** @internal */
  protected override consumeOne(policy: WindowPolicy, key: string, isTimed: boolean): Promise<HitOutcome<string>> {
    return this.consume(policy, key, 1, isTimed) as Promise<HitOutcome<string>>;
  }

  /** @internal */
  protected override async refundOne(policy: WindowPolicy, key: string, recordedAt = ""): Promise<void> {
    await this.#windows.refund(policy, key, 1, recordedAt);
  }

  /** @internal */
  protected override now(): number {
    return Date.now();
  }
}
