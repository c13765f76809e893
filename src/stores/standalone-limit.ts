import type { Options } from "express-rate-limit";
import { SetupError } from "../settings/errors.js";
import type { WindowPolicy } from "./contracts.js";

/** What a store is told of its limit when express-rate-limit uses it alone. */
export interface StandaloneLimit {
  readonly policy: WindowPolicy;
  /** What a refused request reports as `totalHits`. */
  readonly refusedHits: number;
  /** Whether that package will un-count requests. */
  readonly uncounts: boolean;
}

export type StandaloneOptions = Pick<Options, "windowMs" | "limit"> & Partial<Options>;

export function standalonePolicy(limit: number, windowMs: number): WindowPolicy {
  return Object.freeze({ name: "express-rate-limit", limit, windowMs });
}

/**
 * The limit out of what express-rate-limit gives to `init`, and what the store was given itself.
 *
 * @throws SetupError when `limit` is a function and the store was given none, or options and store disagree
 */
export function standaloneLimit(store: string, options: StandaloneOptions, own: { readonly limit?: number | undefined; readonly windowMs?: number | undefined }): StandaloneLimit {
  const { limit, windowMs } = own;
  if (windowMs !== undefined && windowMs !== options.windowMs) {
    throw new SetupError(`${store} and express-rate-limit were given different windowMs. Leave the store's out.`);
  }
  const uncounts = options.skipFailedRequests === true || options.skipSuccessfulRequests === true;
  if (typeof options.limit === "number") {
    if (limit !== undefined && limit !== options.limit) {
      throw new SetupError(`${store} and express-rate-limit were given different limits. Leave the store's out.`);
    }
    return { policy: standalonePolicy(options.limit, options.windowMs), refusedHits: options.limit + 1, uncounts };
  }
  if (limit === undefined) {
    throw new SetupError(`express-rate-limit works out a limit function after the store has counted. Give the highest limit as new ${store}({ limit }).`);
  }
  // With a limit that is a function of the request, nothing but this is above every limit.
  return { policy: standalonePolicy(limit, options.windowMs), refusedHits: Number.MAX_SAFE_INTEGER, uncounts };
}

/** @throws SetupError always: a store without a limit lets nobody in */
export function noLimit(store: string): never {
  throw new SetupError(`This ${store} has no limit: express-rate-limit did not initialise it, or its options were refused.`);
}
