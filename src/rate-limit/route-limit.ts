import type { RequestHandler } from "express";
import type { Middleware } from "../core/middleware.js";
import { beginState } from "../core/request-state.js";
import type { Runtime } from "../core/runtime.js";
import { SettingsError } from "../settings/errors.js";
import { parse, parseFactory } from "../settings/object.js";
import type { RateLimitStore } from "../stores/contracts.js";
import { createLimiter } from "./limiter.js";
import { routeLimit } from "./limits.js";
import {
  isWindowStore,
  rateLimitSchema,
  type ResolvedRateLimitSettings,
  type ResolvedRouteLimitSettings,
  type RouteLimitSettings,
  routeLimitSchema,
} from "./settings.js";

export interface RouteLimitDependencies {
  /** The store to count in, unless the settings of the application's limiter name another one. */
  readonly store: RateLimitStore;
  /** Settings that a route limit inherits from the application's limiter; the defaults when that limiter is off. */
  readonly defaults?: ResolvedRateLimitSettings | undefined;
}

/**
 * A limit for one route, in addition to the application's limits and in the same store.
 *
 * @param limit `{ name, limit, windowSeconds?, key?, cost?, mode? }`; without `key` a caller is counted by its
 * principal, and by address while anonymous
 * @throws SettingsError also when a limit of the same name has another window
 */
export function createRouteLimit(
  limit: RouteLimitSettings,
  runtime: Runtime,
  deps: RouteLimitDependencies,
): Middleware {
  const options = parseFactory("security.rateLimit", routeLimitSchema, limit);
  const defaults = deps.defaults ?? parse(rateLimitSchema, {});
  // A store of express-rate-limit counts for the main limit only.
  const store = defaults.store !== undefined && isWindowStore(defaults.store) ? defaults.store : deps.store;
  holdWindow(store, options);
  const limiter = createLimiter(routeLimit(options, defaults, runtime, store), runtime);
  const handler: RequestHandler = function routeRateLimit(req, res, next) {
    limiter.apply(req, res, next, beginState(req, runtime));
  };
  return handler as Middleware;
}

/** The windows of the route limits that count in a store, by name. */
const routeWindows = new WeakMap<RateLimitStore, Map<string, number>>();

/**
 * Each name has one count, and each count has one window: a shorter window would drop what a longer one still counts.
 *
 * @throws SettingsError
 */
function holdWindow(store: RateLimitStore, { name, windowSeconds }: ResolvedRouteLimitSettings): void {
  const windows = routeWindows.get(store) ?? new Map<string, number>();
  routeWindows.set(store, windows);
  const known = windows.get(name) ?? windowSeconds;
  if (known !== windowSeconds) {
    const message = `Another limit with this name has a window of ${known} s. Limits with the same name share one count and need the same window.`;
    throw new SettingsError([
      {
        code: "contradiction",
        path: "windowSeconds",
        message,
        remedy: "Choose another name, or set windowSeconds to the same value.",
      },
    ]);
  }
  windows.set(name, windowSeconds);
}
