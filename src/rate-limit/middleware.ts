import type { RequestHandler } from "express";
import type { Middleware } from "../core/middleware.js";
import { allOf } from "../core/maybe-promise.js";
import type { LimitCount } from "../core/pending-limits.js";
import type { Layer, RunLayer } from "../core/layer.js";
import type { LayerId } from "../core/layer-id.js";
import { AddressList } from "../core/http/address-list.js";
import { standalone } from "../core/pipeline.js";
import { StoreError } from "../core/portcullis-error.js";
import type { Refusal } from "../core/response/problem.js";
import { refuse } from "../core/response/refuse.js";
import { type PartDependencies, partRuntime, type Runtime } from "../core/runtime.js";
import type { StoreGuard } from "../stores/health/store-guard.js";
import { parseFactory } from "../settings/object.js";
import type { RateLimitStore } from "../stores/contracts.js";
import { SlidingWindowStore } from "../stores/memory/sliding-window/store.js";
import { ThirdPartyStore } from "./third-party-store.js";
import { RefusedClients } from "./refused-clients.js";
import type { LimitDirectory } from "./directory.js";
import { highestLimit, windowsOf } from "./limit-settings.js";
import { mainLimit, principalLimit } from "./limits.js";
import { defineRateLimit } from "./request-limit.js";
import type { Limiter } from "./limit.js";
import { createLimiter } from "./limiter.js";
import { applyLimits, guardFor } from "./consume.js";
import { supportsBatch, BatchedLimits } from "./pending-limits.js";
import { type ResolvedRateLimitSettings, type RateLimitSettings, rateLimitSchema } from "./settings.js";
import { isWindowStore } from "./store-choice.js";
import { untrustedProxyWatch } from "./untrusted-proxy.js";

export interface RateLimitDependencies {
  /** The store to count in, unless the settings name another one. */
  readonly store: RateLimitStore;
  /** Where the limits can be found by their names. */
  readonly directory?: LimitDirectory | undefined;
}

export interface MainLimitDependencies extends RateLimitDependencies {
  /** Whether limits of a credential may follow, so that one call of the store consumes them together with this one. */
  readonly joined?: boolean;
}

/**
 * The limiter of order 500: the main limit, before anything expensive. `undefined` with `key: "principal"`, because the
 * caller's identity is known only at order 1000.
 */
export function createRateLimit(
  options: ResolvedRateLimitSettings,
  runtime: Runtime,
  deps: MainLimitDependencies,
): Layer | undefined {
  if (options.key === "principal") return undefined;
  const store = storeOf(options, runtime, deps);
  const limiter = createLimiter(mainLimit("rate-limit", options, runtime, store), runtime);
  deps.directory?.add(limiter);
  const shared = { store, watchProxy: options.key === "address", checksAddress: true };
  // In report mode each limit is consumed separately: a refusal by one must not keep the others from counting.
  if (deps.joined !== true || options.mode === "report" || !supportsBatch(store))
    return layer("rate-limit", options, [limiter], shared, limiter.apply);
  const guard = guardFor(store, runtime, options.storeTimeoutMs);
  const refused = new RefusedClients(runtime.clock);
  const keepPending: Limiter["apply"] = (req, res, next, state) => {
    const keep = (count: LimitCount | undefined): void => {
      if (count === undefined) return next();
      const tracked = refused.track(count);
      if (refused.has(count)) return applyLimits(store, guard, [tracked], req, res, next, state);
      state.pendingLimits = new BatchedLimits(store, guard, next);
      state.pendingLimits.add(tracked);
      next();
    };
    const count = limiter.countOf(req, res, state);
    if (count instanceof Promise) count.then(keep).catch(next);
    else keep(count);
  };
  return layer("rate-limit", options, [limiter], shared, keepPending);
}

/**
 * The limiter of order 1000: the main limit when it is counted by principal, and `perPrincipal`. The first counts
 * anonymous callers by address; the second lets them pass. `undefined` when the settings have neither.
 */
export function createPrincipalRateLimit(
  options: ResolvedRateLimitSettings,
  runtime: Runtime,
  deps: RateLimitDependencies,
): Layer | undefined {
  if (options.key !== "principal" && options.perPrincipal === undefined) return undefined;
  const store = storeOf(options, runtime, deps);
  const limiters: Limiter[] = [];
  if (options.key === "principal")
    limiters.push(createLimiter(mainLimit("principal-rate-limit", options, runtime, store), runtime));
  if (options.perPrincipal !== undefined)
    limiters.push(createLimiter(principalLimit(options, options.perPrincipal, runtime, store), runtime));
  for (const limiter of limiters) deps.directory?.add(limiter);
  const isFirst = options.key === "principal";
  const shared = { store, watchProxy: isFirst, checksAddress: isFirst };
  const apply =
    options.mode === "enforce" && supportsBatch(store)
      ? together(limiters, store, guardFor(store, runtime, options.storeTimeoutMs))
      : inTurn(limiters);
  return layer("principal-rate-limit", options, limiters, shared, apply);
}

/** Counts the request in these limits together, and together with limits that are pending. */
function together(limiters: readonly Limiter[], store: RateLimitStore, guard: StoreGuard): Limiter["apply"] {
  return (req, res, next, state) => {
    const go = (all: readonly (LimitCount | undefined)[]): void => {
      const counts = all.filter((count) => count !== undefined);
      const pending = state.pendingLimits;
      if (pending === undefined && counts.length > 0) return applyLimits(store, guard, counts, req, res, next, state);
      for (const count of counts) pending?.add(count);
      next();
    };
    const counts = allOf(limiters.map((limiter) => limiter.countOf(req, res, state)));
    if (counts instanceof Promise) counts.then(go).catch(next);
    else go(counts);
  };
}

function inTurn([first, second]: readonly Limiter[]): Limiter["apply"] {
  if (first === undefined) return (_req, _res, next) => next();
  if (second === undefined) return first.apply;
  return (req, res, next, state) =>
    first.apply(
      req,
      res,
      (error?: unknown) => (error === undefined ? second.apply(req, res, next, state) : next(error)),
      state,
    );
}

/**
 * A sliding-window rate limiter with a store of its own: 100 requests a minute for each client address unless
 * configured otherwise. Mount it before what it protects; with `key: "principal"` or `perPrincipal`, after
 * authentication.
 *
 * @param deps `{ events?, clock?, onRefusal? }`, so that the part can be observed and tested
 * @throws SettingsError
 *
 * @example
 * ```ts
 * import express from "express";
 * import { rateLimiter } from "portcullis";
 *
 * const app = express();
 * app.use(rateLimiter({ limit: 100, windowSeconds: 60 }));
 * ```
 */
export function rateLimiter(settings: RateLimitSettings = {}, deps?: PartDependencies): Middleware {
  const options = parseFactory("rateLimiter", rateLimitSchema, settings);
  const runtime = partRuntime(deps);
  const shared = { store: new SlidingWindowStore({ maxClients: options.maxClients, clock: runtime.clock }) };
  const layers = [
    createRateLimit(options, runtime, { ...shared, joined: options.perPrincipal !== undefined }),
    createPrincipalRateLimit(options, runtime, shared),
  ];
  const handler = standalone(
    layers.filter((made) => made !== undefined),
    runtime,
  );
  return Object.defineProperty(
    function (req, res, next) {
      if (!("rateLimit" in req)) defineRateLimit((req.app as { request?: object } | undefined)?.request ?? req);
      return handler(req, res, next);
    } satisfies RequestHandler,
    "name",
    { value: handler.name },
  ) as Middleware;
}

function storeOf(options: ResolvedRateLimitSettings, runtime: Runtime, deps: RateLimitDependencies): RateLimitStore {
  if (options.store === undefined) return deps.store;
  if (isWindowStore(options.store)) return options.store;
  // The settings allow one window with such a store.
  const [window] = windowsOf(options);
  if (window === undefined) throw new StoreError("This limit has no window.");
  const policy = {
    name: options.name,
    limit: highestLimit(options, window),
    windowMs: window.windowSeconds * 1000,
  };
  return new ThirdPartyStore(options.store, policy, runtime.clock);
}

interface Shared {
  readonly store: RateLimitStore;
  readonly watchProxy: boolean;
  /** Whether this layer refuses the addresses of `deny`: the first one that counts. */
  readonly checksAddress: boolean;
}

const DENIED: Refusal = Object.freeze({ code: "address-refused", reason: "denied" });

function layer(
  id: LayerId,
  options: ResolvedRateLimitSettings,
  limiters: readonly Limiter[],
  { store, watchProxy, checksAddress }: Shared,
  apply: Limiter["apply"],
): Layer {
  const denied = checksAddress && options.deny !== undefined ? new AddressList(options.deny) : undefined;
  const watch = watchProxy || denied !== undefined ? untrustedProxyWatch(id) : undefined;
  const run: RunLayer = function rateLimitMiddleware(req, res, next, state) {
    watch?.(req, state);
    apply(req, res, next, state);
  };
  const runUnlessDenied: RunLayer = function rateLimitMiddleware(req, res, next, state) {
    if (denied?.has(state.address(req)) !== true || !refuse(req, res, id, DENIED, options.mode))
      return run(req, res, next, state);
    watch?.(req, state);
  };
  return {
    id,
    mode: options.mode,
    run: denied === undefined ? run : runUnlessDenied,
    describe: () => describe(options),
    ...(store instanceof ThirdPartyStore ? { ready: () => store.ready() } : {}),
    close: async () => {
      for (const limiter of limiters) limiter.close();
    },
  };
}

/** The settings, JSON-able: a function as `"function"`, a store as its class. */
function describe({ store, perPrincipal, ...rest }: ResolvedRateLimitSettings): Record<string, unknown> {
  return {
    ...plain(rest),
    ...(perPrincipal === undefined ? {} : { perPrincipal: plain(perPrincipal) }),
    ...(store === undefined ? {} : { store: store.constructor.name }),
  };
}

function plain(settings: object): Record<string, unknown> {
  const entries = Object.entries(settings).flatMap(([name, value]: [string, unknown]) => {
    if (value === undefined) return [];
    if (name === "windows") return [[name, (value as object[]).map(plain)]];
    return [[name, typeof value === "function" ? "function" : value]];
  });
  return Object.fromEntries(entries) as Record<string, unknown>;
}
