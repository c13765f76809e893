import type { Request } from "express";
import type { RequestState } from "../core/request-state.js";
import type { Runtime } from "../core/runtime.js";
import type { RateLimitStore } from "../stores/contracts.js";
import { Block } from "./block.js";
import { countsOf } from "./counts.js";
import {
  allowList,
  byAddress,
  byFunction,
  byPrincipal,
  costOf,
  type KeyOf,
  namedAddress,
  principalKey,
  skipsOf,
} from "./keys.js";
import type { RateLimitKeyFunction, WindowSettings } from "./limit-settings.js";
import type { Limit } from "./limit.js";
import { failureTest } from "./outcome-of-request.js";
import type { ResolvedRouteLimitSettings } from "./route-settings.js";
import type { ResolvedRateLimitSettings } from "./settings.js";
import { type Announce, warnOnce } from "./mistakes.js";

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
  readonly windows: WindowSettings;
  readonly skip: ResolvedRateLimitSettings["skip"];
  readonly key: KeyOf | ((req: Request, state: RequestState) => string | undefined);
  readonly keyNamed: (client: string) => string;
  readonly cost: ResolvedRateLimitSettings["cost"];
  readonly consequences?: Consequences;
}

/** What follows from a response, and from a used-up limit. */
type Consequences = Pick<ResolvedRouteLimitSettings, "count" | "isFailure" | "blockSeconds">;

/** The limit that `limit`, `windowSeconds` and `key` describe. */
export function mainLimit(
  source: string,
  options: ResolvedRateLimitSettings,
  runtime: Runtime,
  store: RateLimitStore,
): Limit {
  const { name, skip, cost } = options;
  const announce = warnOnce(runtime, source);
  const keys = keysOf(options.key, options.ipv6Subnet, announce);
  const spec = { source, storeName: name, name, isMain: true as const, windows: options, skip, cost, ...keys };
  return build({ ...spec, consequences: options }, options, store, announce);
}

/** The limit of `perPrincipal`, which lets anonymous callers pass. */
export function principalLimit(
  options: ResolvedRateLimitSettings,
  windows: WindowSettings,
  runtime: Runtime,
  store: RateLimitStore,
): Limit {
  const source = "principal-rate-limit";
  const { skip, cost } = options;
  const key = (req: Request): string | undefined =>
    req.principal === undefined ? undefined : principalKey(req.principal);
  const keyNamed = (id: string): string => principalKey({ id });
  const names = { storeName: `${options.name}:principal`, name: `${options.name}-principal` };
  return build({ source, ...names, windows, skip, cost, key, keyNamed }, options, store, warnOnce(runtime, source));
}

/** A limit for one route. */
export function routeLimit(
  route: ResolvedRouteLimitSettings,
  defaults: ResolvedRateLimitSettings,
  runtime: Runtime,
  store: RateLimitStore,
): Limit {
  const { name, skip, cost } = route;
  const source = "rate-limit";
  const announce = warnOnce(runtime, source);
  const keys = keysOf(route.key, defaults.ipv6Subnet, announce);
  const spec = { source, storeName: `route:${name}`, name, windows: route, skip, cost, ...keys };
  return build({ ...spec, consequences: route }, { ...defaults, mode: route.mode ?? defaults.mode }, store, announce);
}

function keysOf(
  key: "address" | "principal" | RateLimitKeyFunction,
  ipv6Subnet: number,
  announce: Announce,
): Pick<LimitSpec, "key" | "keyNamed"> {
  const address = byAddress(ipv6Subnet);
  const named = (client: string): string | undefined => namedAddress(client, ipv6Subnet);
  if (key === "address") return { key: address, keyNamed: (client) => named(client) ?? client };
  if (key === "principal")
    return { key: byPrincipal(address), keyNamed: (client) => named(client) ?? principalKey({ id: client }) };
  return { key: byFunction(key, address, announce), keyNamed: (client) => named(client) ?? client };
}

function build(
  { source, storeName, name, isMain, windows, skip, key, keyNamed, cost, consequences = {} }: LimitSpec,
  common: Common,
  store: RateLimitStore,
  announce: Announce,
): Limit {
  const { headers: forms, mode, onStoreError, storeTimeoutMs, maxClients } = common;
  const { count, isFailure, blockSeconds } = consequences;
  const isAllowed = allowList(common.allow);
  return Object.freeze({
    source,
    name,
    counts: countsOf({ storeName, name, isMain, forms }, windows, storeTimeoutMs, announce),
    mode,
    skips: skipsOf(skip, announce),
    key:
      isAllowed === undefined
        ? key
        : (req: Request, state: RequestState) => (isAllowed(req, state) ? undefined : key(req, state)),
    keyNamed,
    cost: costOf(cost, announce),
    isFailure: count === "failures" ? failureTest(isFailure, announce) : undefined,
    block: blockSeconds === undefined ? undefined : new Block(storeName, blockSeconds),
    store,
    onStoreError,
    storeTimeoutMs,
    maxClients,
  });
}
