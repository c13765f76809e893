import type { WindowRequest } from "./contracts.js";

/** Requests merged so that each policy and key occurs once, with the position of each original request. */
export interface MergedRequests {
  readonly merged: readonly WindowRequest[];
  /** For each original request, its position in `merged`. */
  readonly places: readonly number[];
}

/** @throws RangeError when a cost is not an integer of at least 0 */
export function mergeRequests(requests: readonly WindowRequest[]): MergedRequests {
  const merged: WindowRequest[] = [];
  const places = requests.map(({ policy, key, cost }) => {
    checkCost(cost);
    const known = merged.findIndex((other) => other.key === key && other.policy.name === policy.name);
    if (known === -1) return merged.push({ policy, key, cost }) - 1;
    const first = merged[known]!;
    merged[known] = { ...first, cost: first.cost + cost };
    return known;
  });
  return { merged, places };
}

/** @throws RangeError when a cost is not an integer of at least 0 */
export function checkCost(cost: number): void {
  if (!Number.isSafeInteger(cost) || cost < 0) throw new RangeError("The cost must be a whole number of at least 0.");
}
