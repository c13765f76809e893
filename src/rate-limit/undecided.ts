import type { CountedIn } from "../core/request-state.js";
import type { WindowOutcome, WindowPolicy } from "../stores/contracts.js";
import { isShared } from "../stores/memory/sliding-window/shared-outcomes.js";
import type { Count, Counts } from "./counts.js";
import type { Limit } from "./limit.js";

/** All logs of a limit. */
export function policiesOf({
  counts,
  block,
  isFailure,
}: Pick<Limit, "block" | "isFailure"> & { readonly counts: Pick<Counts, "policies"> }): readonly WindowPolicy[] {
  if (block === undefined) return counts.policies;
  const pending = isFailure === undefined ? [] : counts.policies.map(undecided);
  return [...counts.policies, ...pending, block.policy];
}

const undecidedPolicies = new WeakMap<WindowPolicy, WindowPolicy>();

/** The log of the units in a window that are not decided yet. It never refuses what the window accepts. */
export function undecided(policy: WindowPolicy): WindowPolicy {
  let made = undecidedPolicies.get(policy);
  if (made === undefined) {
    made = Object.freeze({ ...policy, name: `${policy.name}:undecided`, isMain: undefined });
    undecidedPolicies.set(policy, made);
  }
  return made;
}

/** Whether a window refuses the request even without the units that are not decided yet. */
export function isUsedUp(
  open: readonly { readonly count: Count; readonly entry: CountedIn }[],
  outcomes: readonly WindowOutcome[],
  hasUndecided: boolean,
): boolean {
  return open.some(({ count: { policy }, entry: { units } }, index) => {
    const outcome = outcomes[index]!;
    const { allowed, used } = outcome;
    // Others have used up a window that they share with this client.
    if (isShared(outcome)) return false;
    const pending = hasUndecided ? outcomes[open.length + index]!.used : 0;
    return !allowed && units <= policy.limit && used - pending + units > policy.limit;
  });
}
