import { AsyncLocalStorage } from "node:async_hooks";
import type { ClientRateLimitInfo } from "express-rate-limit";
import { mapMaybe, type MaybePromise } from "../core/maybe-promise.js";
import type { WindowOutcome, WindowPolicy } from "./contracts.js";
import {
  type ExpressRateLimitSettings,
  noLimit,
  type StandaloneLimit,
  standaloneLimit,
  standalonePolicy,
} from "./express-rate-limit.js";

/** Whether a store answers at once or by promises. */
export type AnswerMode = "sync" | "async";

/** An answer of a store that answers at once, or a promise of it. */
export type StoreAnswer<Mode extends AnswerMode, T> = Mode extends "sync" ? T : Promise<T>;

/** The facts about a store that express-rate-limit may use alone. */
export interface StandaloneSettings<Mode extends AnswerMode> {
  /** The name of its class, for messages. */
  readonly name: string;
  /** Whether it answers at once. */
  readonly mode: Mode;
  /** Units in a window, if the store was given a limit of its own. */
  readonly limit?: number | undefined;
  /** Milliseconds, if the store was given a window of its own. */
  readonly windowMs?: number | undefined;
}

/** An outcome, with the time of the record if there is one; the store defines its unit. */
export interface HitOutcome<Time extends number | string> extends WindowOutcome {
  /** When the unit was recorded. */
  readonly recordedAt?: Time | undefined;
}

/** The result of one `increment`, for the `decrement` of the same request. */
interface Hit<Time> {
  readonly key: string;
  /** `undefined` when the hit was refused and therefore not recorded. */
  recordedAt?: Time | undefined;
}

/**
 * The methods by which express-rate-limit uses a window store. A refused request is not recorded and reports
 * `totalHits` one above the limit and, as `resetTime`, when a slot frees. With `skipFailedRequests` or
 * `skipSuccessfulRequests` an accepted one reports when its own record leaves the window: that package un-counts
 * nothing after `resetTime`, and un-counts refused requests too, so each `decrement` is traced back to its own request.
 *
 * @example
 * ```ts
 * import { rateLimit } from "express-rate-limit";
 * import { SlidingWindowStore } from "portcullis";
 *
 * const limiter = rateLimit({ windowMs: 60_000, limit: 100, store: new SlidingWindowStore() });
 * ```
 */
export abstract class ExpressRateLimitStore<Mode extends AnswerMode, Time extends number | string> {
  readonly #settings: StandaloneSettings<Mode>;
  #limit: StandaloneLimit | undefined;
  #hits: AsyncLocalStorage<Hit<Time>> | undefined;

  /** @internal */
  constructor(settings: StandaloneSettings<Mode>) {
    this.#settings = settings;
    const { limit, windowMs } = settings;
    if (limit !== undefined && windowMs !== undefined) {
      this.#limit = { policy: standalonePolicy(limit, windowMs), refusedHits: limit + 1, refunds: false };
    }
  }

  /** Returns what `consume` would return, and records nothing. */
  abstract peek(policy: WindowPolicy, key: string, cost: number): StoreAnswer<Mode, WindowOutcome>;
  /** Forgets one client. */
  abstract reset(policy: WindowPolicy, key: string): StoreAnswer<Mode, void>;
  /** Stops what the store started. */
  abstract close(): StoreAnswer<Mode, void>;
  /** @internal Records one unit if it fits. @param isTimed whether the outcome needs the time of the record */
  protected abstract consumeOne(
    policy: WindowPolicy,
    key: string,
    isTimed: boolean,
  ): StoreAnswer<Mode, HitOutcome<Time>>;
  /** @internal Takes one unit back. @param recordedAt of the outcome; without it, the client's oldest unit */
  protected abstract refundOne(policy: WindowPolicy, key: string, recordedAt?: Time): StoreAnswer<Mode, void>;
  /** @internal The wall clock, in milliseconds. */
  protected abstract now(): number;

  /**
   * express-rate-limit calls this with its options. It logs what this throws and goes on; every `increment` fails then,
   * so that a misconfigured limiter does not accept every request.
   *
   * @throws SetupError when `limit` is a function and the store was given none, or options and store disagree
   */
  init(options: ExpressRateLimitSettings): void {
    this.#limit = undefined;
    this.#limit = standaloneLimit(this.#settings.name, options, this.#settings);
    this.#hits = this.#limit.refunds ? new AsyncLocalStorage<Hit<Time>>() : undefined;
  }

  /** Records one hit if it fits. */
  increment(key: string): StoreAnswer<Mode, ClientRateLimitInfo> {
    return this.#answer(() => {
      const { policy, refusedHits } = this.#standalone();
      // Before anything asynchronous: express-rate-limit says later that "this request" is not to count, but not which
      // one; its async context identifies it.
      const hit: Hit<Time> = { key };
      this.#hits?.enterWith(hit);
      const isTimed = this.#hits !== undefined;
      return mapMaybe<HitOutcome<Time>, ClientRateLimitInfo>(
        this.consumeOne(policy, key, isTimed),
        ({ allowed, used, retryAfterMs, resetMs, recordedAt }) => {
          const now = this.now();
          if (!allowed) return { totalHits: refusedHits, resetTime: new Date(Math.ceil(now) + retryAfterMs) };
          hit.recordedAt = recordedAt;
          const resetAt = isTimed ? Math.floor(now) + policy.windowMs : Math.ceil(now) + resetMs;
          return { totalHits: used, resetTime: new Date(resetAt) };
        },
      );
    });
  }

  /** Takes back the hit of the current request; outside of a request, the client's oldest. */
  decrement(key: string): StoreAnswer<Mode, void> {
    return this.#answer(() => {
      const { policy } = this.#standalone();
      const hit = this.#hits?.getStore();
      if (hit?.key !== key) return this.refundOne(policy, key);
      return hit.recordedAt === undefined ? undefined : this.refundOne(policy, key, hit.recordedAt);
    });
  }

  /** Forgets one client. */
  resetKey(key: string): StoreAnswer<Mode, void> {
    return this.#answer<void>(() => this.reset(this.#standalone().policy, key));
  }

  /** The hits of one client; `undefined` when there are none. */
  get(key: string): StoreAnswer<Mode, ClientRateLimitInfo | undefined> {
    return this.#answer(() =>
      mapMaybe<WindowOutcome, ClientRateLimitInfo | undefined>(
        this.peek(this.#standalone().policy, key, 1),
        ({ used, resetMs }) =>
          used === 0 ? undefined : { totalHits: used, resetTime: new Date(Math.ceil(this.now()) + resetMs) },
      ),
    );
  }

  /** `close`, by express-rate-limit's name. */
  shutdown(): StoreAnswer<Mode, void> {
    return this.close();
  }

  /** A store that answers by promises also fails by promises. */
  #answer<T>(work: () => MaybePromise<T>): StoreAnswer<Mode, T> {
    const answer = this.#settings.mode === "sync" ? work() : (async () => work())();
    return answer as StoreAnswer<Mode, T>;
  }

  #standalone(): StandaloneLimit {
    return this.#limit ?? noLimit(this.#settings.name);
  }
}
