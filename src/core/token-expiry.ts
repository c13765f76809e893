import type { Principal } from "./principal.js";

const ENDS = new WeakMap<Principal, number>();

/** Notes when the token ends that proved `principal`. */
export function noteTokenEnd(principal: Principal, endsAt: number): void {
  ENDS.set(principal, endsAt);
}

/** When the token ends that proved `principal`, in milliseconds since the epoch; `undefined` when no token of ours did. */
export function tokenEndOf(principal: Principal): number | undefined {
  return ENDS.get(principal);
}
