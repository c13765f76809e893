import type { RequestState } from "../core/request-state.js";
import type { RateLimitStore, WindowPolicy } from "../stores/contracts.js";

/**
 * The units that a limit still has to count for a request, however often the request meets it: the limit of an app mounted
 * twice, on a route as well, or met again by `app.handle`. A count is one of a store, a name and a key. Meeting it again with a
 * lower limit is 0 units to be compared with that; a higher cost counts what it has more. `undefined`: nothing is left to do.
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
 * Takes back what `unitsLeft` noted, for a limit on trial that was used up: it let the request pass and recorded nothing, and
 * says nothing for the limits of the same name that come after it.
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
