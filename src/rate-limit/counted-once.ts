import type { RequestState } from "../core/request-state.js";
import type { RateLimitStore, WindowPolicy } from "../stores/contracts.js";

/**
 * The units that a limit still has to count for a request. A request may meet the same limit several times: in an app
 * that is mounted twice, on a route as well, or again by `app.handle`. A store, a name and a key identify a count. A
 * second meeting with a lower limit counts 0 units, to compare the count with that limit; a higher cost counts the
 * difference. `undefined`: nothing is left to count.
 */
export function remainingUnits(
  state: RequestState,
  store: RateLimitStore,
  { name, limit }: WindowPolicy,
  key: string,
  cost: number,
): number | undefined {
  for (let known = state.counted; known !== undefined; known = known.next) {
    if (known.key !== key || known.name !== name || known.store !== store) continue;
    const more = Math.max(0, cost - known.cost);
    if (more === 0 && limit >= known.limit) return undefined;
    known.cost += more;
    known.limit = Math.min(limit, known.limit);
    return more;
  }
  state.counted = { store, name, key, cost, limit, next: state.counted };
  return cost;
}

/**
 * Undoes what `remainingUnits` noted, for an exhausted limit in report mode. Such a limit let the request pass and
 * recorded nothing, so it must not affect later limits of the same name.
 */
export function undoCount(
  state: RequestState,
  store: RateLimitStore,
  { name }: WindowPolicy,
  key: string,
  units: number,
): void {
  for (let known = state.counted; known !== undefined; known = known.next) {
    if (known.key !== key || known.name !== name || known.store !== store) continue;
    known.cost -= units;
    known.limit = Infinity;
  }
}
