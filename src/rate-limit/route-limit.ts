import type { RequestHandler } from "express";
import type { Middleware } from "../core/middleware.js";
import { beginState } from "../core/request-state.js";
import type { Runtime } from "../core/runtime.js";
import { SettingsError } from "../settings/errors.js";
import { parse, parseFactory } from "../settings/object.js";
import type { RateLimitStore } from "../stores/contracts.js";
import type { LimitDirectory } from "./directory.js";
import { windowsOf } from "./limit-settings.js";
import { createLimiter } from "./limiter.js";
import { routeLimit } from "./limits.js";
import { type ResolvedRouteLimitSettings, routeLimitSchema, type RouteLimitSettings } from "./route-settings.js";
import { rateLimitSchema, type ResolvedRateLimitSettings } from "./settings.js";
import { isWindowStore } from "./store-choice.js";

export interface RouteLimitDependencies {
  /** The store to count in, unless the settings of the application's limiter name another one. */
  readonly store: RateLimitStore;
  /** Settings that a route limit inherits from the application's limiter; the defaults when that limiter is off. */
  readonly defaults?: ResolvedRateLimitSettings | undefined;
  /** Where the limit can be found by its name. */
  readonly directory?: LimitDirectory | undefined;
}

/**
 * A limit for one route, in addition to the application's limits and in the same store.
 *
 * @param limit `{ name, limit, windowSeconds?, windows?, maxLimit?, skip?, key?, cost?, mode? }`; without `key` a caller is counted by its
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
  deps.directory?.add(limiter);
  const handler: RequestHandler = function routeRateLimit(req, res, next) {
    limiter.apply(req, res, next, beginState(req, runtime));
  };
  return handler as Middleware;
}

/** The windows of the route limits that count in a store, by name: their lengths in seconds, in order. */
const routeWindows = new WeakMap<RateLimitStore, Map<string, string>>();

/**
 * Each name has one count for each window, and limits with the same name share them: a shorter window would drop what a
 * longer one still counts.
 *
 * @throws SettingsError
 */
function holdWindow(store: RateLimitStore, options: ResolvedRouteLimitSettings): void {
  const { name, windows: list, blockSeconds } = options;
  const windows = routeWindows.get(store) ?? new Map<string, string>();
  routeWindows.set(store, windows);
  const lengths = windowsOf(options)
    .map(({ windowSeconds }) => windowSeconds)
    .sort((a, b) => a - b)
    .join(" s and ")
    .concat(blockSeconds === undefined ? "" : ` s, and a block of ${blockSeconds}`);
  const known = windows.get(name) ?? lengths;
  if (known !== lengths) {
    const message = `Another limit with this name has a window of ${known} s. Limits with the same name share one count and need the same window.`;
    throw new SettingsError([
      {
        code: "contradiction",
        path: list === undefined ? "windowSeconds" : "windows",
        message,
        remedy: "Choose another name, or set windowSeconds to the same value.",
      },
    ]);
  }
  windows.set(name, lengths);
}
