import type { Request } from "express";
import type { RequestState } from "../core/request-state.js";
import type { Runtime } from "../core/runtime.js";
import type { RateLimitStore } from "../stores/contracts.js";
import { limitText } from "./decide.js";
import { allowList, byAddress, byFunction, byPrincipal, costOf, type KeyOf, warnOnce, principalKey } from "./keys.js";
import type { Limit } from "./limiter.js";
import type { RateLimitKeyFunction, ResolvedRateLimitSettings, ResolvedRouteLimitSettings } from "./settings.js";

/** What the limits of one application share. */
type Common = Pick<
  ResolvedRateLimitSettings,
  "headers" | "allow" | "ipv6Subnet" | "onStoreError" | "storeTimeoutMs" | "maxClients" | "mode"
>;

interface LimitSpec {
  readonly source: string;
  /**
   * Name in the store. Each kind of limit has its own names, so a route limit called "default" is not the main limit.
   */
  readonly storeName: string;
  /** Name in headers. */
  readonly name: string;
  readonly isMain?: true;
  readonly limit: number;
  readonly windowSeconds: number;
  readonly key: (req: Request, state: RequestState) => string | undefined;
  readonly cost: (req: Request) => number;
}

/** The limit that `limit`, `windowSeconds` and `key` describe. */
export function mainLimit(
  source: string,
  options: ResolvedRateLimitSettings,
  runtime: Runtime,
  store: RateLimitStore,
): Limit {
  const { name, limit, windowSeconds } = options;
  const announce = warnOnce(runtime, source);
  const key = keyOf(options.key, options.ipv6Subnet, announce);
  return build(
    { source, storeName: name, name, isMain: true, limit, windowSeconds, key, cost: costOf(options.cost, announce) },
    options,
    store,
  );
}

/** The limit of `perPrincipal`, which lets anonymous callers pass. */
export function principalLimit(
  options: ResolvedRateLimitSettings,
  per: { limit: number; windowSeconds: number },
  runtime: Runtime,
  store: RateLimitStore,
): Limit {
  const source = "principal-rate-limit";
  const cost = costOf(options.cost, warnOnce(runtime, source));
  const key = (req: Request): string | undefined =>
    req.principal === undefined ? undefined : principalKey(req.principal);
  return build(
    { source, storeName: `${options.name}:principal`, name: `${options.name}-principal`, ...per, key, cost },
    options,
    store,
  );
}

/** A limit for one route. */
export function routeLimit(
  route: ResolvedRouteLimitSettings,
  defaults: ResolvedRateLimitSettings,
  runtime: Runtime,
  store: RateLimitStore,
): Limit {
  const { name, limit, windowSeconds } = route;
  const announce = warnOnce(runtime, "rate-limit");
  const key = keyOf(route.key, defaults.ipv6Subnet, announce);
  const spec = {
    source: "rate-limit",
    storeName: `route:${name}`,
    name,
    limit,
    windowSeconds,
    key,
    cost: costOf(route.cost, announce),
  };
  return build(spec, { ...defaults, mode: route.mode ?? defaults.mode }, store);
}

function keyOf(
  key: "address" | "principal" | RateLimitKeyFunction,
  ipv6Subnet: number,
  announce: ReturnType<typeof warnOnce>,
): KeyOf {
  const address = byAddress(ipv6Subnet);
  if (key === "address") return address;
  if (key === "principal") return byPrincipal(address);
  return byFunction(key, address, announce);
}

function build(particulars: LimitSpec, common: Common, store: RateLimitStore): Limit {
  const { source, storeName, name, isMain, limit, windowSeconds, key, cost } = particulars;
  const windowMs = windowSeconds * 1000;
  const isAllowed = allowList(common.allow);
  return Object.freeze({
    source,
    policy: Object.freeze({ name: storeName, limit, windowMs, isMain }),
    text: limitText(common.headers, name, limit, windowMs),
    mode: common.mode,
    key:
      isAllowed === undefined
        ? key
        : (req: Request, state: RequestState) => (isAllowed(req, state) ? undefined : key(req, state)),
    cost,
    store,
    onStoreError: common.onStoreError,
    storeTimeoutMs: common.storeTimeoutMs,
    maxClients: common.maxClients,
  });
}
