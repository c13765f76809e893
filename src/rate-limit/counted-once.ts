import type { CountedIn, RequestState } from "../core/request-state.js";
import type { RateLimitStore, WindowPolicy } from "../stores/contracts.js";

/**
 * Notes a count that is to include a request, and how many units it has to add. A request may meet the same limit
 * several times: in an app that is mounted twice, on a route as well, or again by `app.handle`. A store, a name and a
 * key identify a count. A second meeting with a lower limit adds 0 units, to compare the count with that limit; a
 * higher cost adds the difference. `undefined`: nothing is left to count.
 */
export function noteCount(
  state: RequestState,
  store: RateLimitStore,
  policy: WindowPolicy,
  key: string,
  cost: number,
  limiter: object,
): CountedIn | undefined {
  const known = countIn(state, store, policy, key);
  let units = cost;
  let counted = cost;
  let { limit } = policy;
  if (known !== undefined) {
    units = Math.max(0, cost - known.cost);
    if (units === 0 && limit >= known.limit) return undefined;
    counted = known.cost + units;
    limit = Math.min(limit, known.limit);
  }
  const entry: CountedIn = {
    store,
    policy,
    key,
    cost: counted,
    limit,
    units,
    limiter,
    outcome: undefined,
    decidedAt: 0,
    counter: undefined,
    recordedAt: undefined,
    next: state.counted,
  };
  state.counted = entry;
  return entry;
}

/**
 * Undoes what `noteCount` noted, for an exhausted limit in report mode. Such a limit let the request pass and recorded
 * nothing, so it must not affect later limits of the same name.
 */
export function undoCount(entry: CountedIn): void {
  entry.cost -= entry.units;
  entry.limit = Infinity;
}

/** The latest entry of a count. */
function countIn(
  state: RequestState,
  store: RateLimitStore,
  { name }: WindowPolicy,
  key: string,
): CountedIn | undefined {
  let known = state.counted;
  while (known !== undefined && (known.key !== key || known.policy.name !== name || known.store !== store))
    known = known.next;
  return known;
}
