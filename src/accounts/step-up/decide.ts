import type { AuthenticationMethodName } from "../../core/authentication.js";
import type { Principal } from "../../core/principal.js";

/** What proof is recent enough. */
export interface FreshPolicy {
  readonly withinSeconds: number;
  /** Sets of methods: all of one set must be recent. `undefined`: any proof. */
  readonly anyOf: readonly (readonly AuthenticationMethodName[])[] | undefined;
}

/**
 * Whether a person has proved who they are recently enough. Someone who acts for another person never has: they prove
 * nothing of that person. Pure.
 *
 * @param now milliseconds since the epoch
 */
export function isFresh(principal: Principal, { withinSeconds, anyOf }: FreshPolicy, now: number): boolean {
  if (principal.actor !== undefined) return false;
  const since = now - withinSeconds * 1000;
  if (anyOf === undefined) return principal.authenticatedAt > since;
  const recent = new Set(principal.methods.filter(({ at }) => at > since).map(({ method }) => method));
  return anyOf.some((set) => set.every((method) => recent.has(method)));
}
