import type { Runtime } from "../core/runtime.js";
import { StoreGuard } from "../stores/health/store-guard.js";
import type { RateLimitStore } from "../stores/contracts.js";

const guards = new WeakMap<Runtime, WeakMap<RateLimitStore, StoreGuard>>();

/**
 * The guard of a store. All limits that count in the store share it, so that an outage is announced once and probed
 * once.
 *
 * @param timeoutMs of the first caller; all limits of one application have the same
 */
export function guardFor(store: RateLimitStore, runtime: Runtime, timeoutMs: number): StoreGuard {
  let byStore = guards.get(runtime);
  if (byStore === undefined) guards.set(runtime, (byStore = new WeakMap()));
  let guard = byStore.get(store);
  if (guard === undefined) byStore.set(store, (guard = new StoreGuard("rate-limit", runtime, timeoutMs, store)));
  return guard;
}
