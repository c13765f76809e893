import type { Principal } from "./principal.js";

const ENDS = new WeakMap<Principal, number>();

/** Records when the token that authenticated `principal` expires. */
export function noteTokenEnd(principal: Principal, endsAt: number): void {
  ENDS.set(principal, endsAt);
}

/**
 * When the token that authenticated `principal` expires, in milliseconds since the epoch; `undefined` when it was not
 * one of our tokens.
 */
export function tokenEndOf(principal: Principal): number | undefined {
  return ENDS.get(principal);
}
