import { SetupError } from "../core/setup-error.js";
import type { WindowPolicy } from "./contracts.js";

/** What a store is told of its limit when express-rate-limit uses it alone. */
export interface StandaloneLimit {
  readonly policy: WindowPolicy;
  /** What a refused request reports as `totalHits`. */
  readonly refusedHits: number;
  /** Whether that package will un-count requests. */
  readonly uncounts: boolean;
}

/** Packages that share express-rate-limit's stores leave some of its options out. */
export interface StandaloneOptions {
  /** Milliseconds. */
  readonly windowMs?: number | undefined;
  /** Units in a window, or a function of what that package calls a request. */
  readonly limit?: number | ((...parameters: never[]) => unknown) | undefined;
  readonly skipFailedRequests?: boolean | undefined;
  readonly skipSuccessfulRequests?: boolean | undefined;
}

/** Most hits of one client that are counted when the package decides by itself what is too many. */
const MOST_HITS = 2 ** 31 - 1;

export function standalonePolicy(limit: number, windowMs: number): WindowPolicy {
  return Object.freeze({ name: "express-rate-limit", limit, windowMs });
}

/**
 * The limit out of what express-rate-limit gives to `init`, and what the store was given itself.
 *
 * @throws SetupError when `limit` is a function and the store was given none, or options and store disagree, or nobody gives
 * a window
 */
export function standaloneLimit(
  store: string,
  options: StandaloneOptions,
  own: { readonly limit?: number | undefined; readonly windowMs?: number | undefined },
): StandaloneLimit {
  const { limit } = own;
  const windowMs = options.windowMs ?? own.windowMs;
  if (windowMs === undefined)
    throw new SetupError(`${store} was given no window. Write it as new ${store}({ windowMs }).`);
  if (own.windowMs !== undefined && own.windowMs !== windowMs) {
    throw new SetupError(`${store} and express-rate-limit were given different windowMs. Leave the store's out.`);
  }
  const uncounts = options.skipFailedRequests === true || options.skipSuccessfulRequests === true;
  if (options.limit === undefined || options.limit === 0) {
    // express-slow-down has a limit of 0 and a handler that looks at the hits, so all of them are recorded.
    const most = limit ?? MOST_HITS;
    return { policy: standalonePolicy(most, windowMs), refusedHits: most + 1, uncounts };
  }
  if (typeof options.limit === "number") {
    if (limit !== undefined && limit !== options.limit) {
      throw new SetupError(`${store} and express-rate-limit were given different limits. Leave the store's out.`);
    }
    return { policy: standalonePolicy(options.limit, windowMs), refusedHits: options.limit + 1, uncounts };
  }
  if (limit === undefined) {
    throw new SetupError(
      `express-rate-limit works out a limit function after the store has counted. Give the highest limit as new ${store}({ limit }).`,
    );
  }
  // With a limit that is a function of the request, nothing but this is above every limit.
  return { policy: standalonePolicy(limit, windowMs), refusedHits: Number.MAX_SAFE_INTEGER, uncounts };
}

/** @throws SetupError always: a store without a limit lets nobody in */
export function noLimit(store: string): never {
  throw new SetupError(
    `This ${store} has no limit: express-rate-limit did not initialise it, or its options were refused.`,
  );
}
