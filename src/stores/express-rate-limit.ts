import { OWN_LIMITS } from "../core/rate-limits.js";
import { SetupError } from "../core/setup-error.js";
import type { WindowPolicy } from "./contracts.js";

/** The limit that a store applies when express-rate-limit uses it alone. */
export interface StandaloneLimit {
  readonly policy: WindowPolicy;
  /** The `totalHits` that a refused request reports. */
  readonly refusedHits: number;
  /** Whether express-rate-limit may take requests back. */
  readonly refunds: boolean;
}

/** Settings of express-rate-limit. Other packages that use its stores may omit some of them. */
export interface ExpressRateLimitSettings {
  /** Milliseconds. */
  readonly windowMs?: number | undefined;
  /** Units in a window, or a function of express-rate-limit's request. */
  readonly limit?: number | ((...parameters: never[]) => unknown) | undefined;
  /** Whether failed requests are taken back. */
  readonly skipFailedRequests?: boolean | undefined;
  /** Whether successful requests are taken back. */
  readonly skipSuccessfulRequests?: boolean | undefined;
}

/** Highest number of hits counted for one client when the package itself compares hits with the limit. */
const MOST_HITS = 2 ** 31 - 1;

export function standalonePolicy(limit: number, windowMs: number): WindowPolicy {
  return Object.freeze({ name: OWN_LIMITS.expressRateLimit, limit, windowMs });
}

/**
 * Derives the limit from the options that express-rate-limit passes to `init`, and from the store's own options.
 *
 * @throws SetupError when `limit` is a function and the store has no limit of its own, when options and store disagree,
 * or when neither sets a window
 */
export function standaloneLimit(
  store: string,
  options: ExpressRateLimitSettings,
  own: { readonly limit?: number | undefined; readonly windowMs?: number | undefined },
): StandaloneLimit {
  const { limit } = own;
  const windowMs = options.windowMs ?? own.windowMs;
  if (windowMs === undefined) throw new SetupError(`${store} has no window. Set it: new ${store}({ windowMs }).`);
  if (own.windowMs !== undefined && own.windowMs !== windowMs) {
    throw new SetupError(
      `${store} and express-rate-limit have different values of windowMs. Remove it from the store.`,
    );
  }
  const uncounts = options.skipFailedRequests === true || options.skipSuccessfulRequests === true;
  if (options.limit === undefined || options.limit === 0) {
    // express-slow-down has a limit of 0 and a handler that looks at the hits, so all of them are recorded.
    const most = limit ?? MOST_HITS;
    return { policy: standalonePolicy(most, windowMs), refusedHits: most + 1, refunds: uncounts };
  }
  if (typeof options.limit === "number") {
    if (limit !== undefined && limit !== options.limit) {
      throw new SetupError(`${store} and express-rate-limit have different values of limit. Remove it from the store.`);
    }
    return { policy: standalonePolicy(options.limit, windowMs), refusedHits: options.limit + 1, refunds: uncounts };
  }
  if (limit === undefined) {
    throw new SetupError(
      `express-rate-limit calls a limit function only after the store has counted. Set the highest limit: new ${store}({ limit }).`,
    );
  }
  // The limit depends on the request: only this value exceeds every possible limit.
  return { policy: standalonePolicy(limit, windowMs), refusedHits: Number.MAX_SAFE_INTEGER, refunds: uncounts };
}

/** @throws SetupError always: a store without a limit refuses every request */
export function noLimit(store: string): never {
  throw new SetupError(
    `This ${store} has no limit: express-rate-limit did not initialise it, or rejected its options.`,
  );
}
