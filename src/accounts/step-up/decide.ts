import type { AuthenticationMethodName } from "../../core/authentication.js";
import type { Principal } from "../../core/principal.js";

/** Sets of methods: all of one set must be recent. */
export type MethodSets = readonly (readonly AuthenticationMethodName[])[];

/** What proof is recent enough. */
export interface FreshPolicy {
  readonly withinSeconds: number;
  /** Which proofs count. `undefined`: for a person who has proved a second factor, that one; otherwise any. */
  readonly anyOf: MethodSets | undefined;
}

const SECOND: MethodSets = Object.freeze([["totp"], ["webauthn"], ["recovery"]] as const);
const ANY: MethodSets = Object.freeze([["pwd"], ["totp"], ["webauthn"], ["recovery"], ["federated"]] as const);
/** How far the clocks of two processes may be apart. A proof of later than that is none. */
const AHEAD_MS = 60_000;

/**
 * Whether a person has proved who they are recently enough. Someone who acts for another person never has: they prove
 * nothing of that person. A key never has: it was made once, and nobody has been there since. Pure.
 *
 * @param now milliseconds since the epoch
 */
export function isFresh(principal: Principal, { withinSeconds, anyOf }: FreshPolicy, now: number): boolean {
  if (principal.actor !== undefined || principal.kind === "api-key") return false;
  const isRecent = (at: number): boolean => at > now - withinSeconds * 1000 && at <= now + AHEAD_MS;
  if (anyOf === undefined && !hasSecond(principal)) return isRecent(principal.authenticatedAt);
  const recent = new Set(principal.methods.filter(({ at }) => isRecent(at)).map(({ method }) => method));
  return (anyOf ?? SECOND).some((set) => set.every((method) => recent.has(method)));
}

/** The sets of methods of which one must be proved again, for the refusal. Pure. */
export function acceptedSets(
  principal: Principal,
  { anyOf }: FreshPolicy,
  offered: readonly AuthenticationMethodName[],
): MethodSets {
  if (anyOf !== undefined) return anyOf;
  return (hasSecond(principal) ? SECOND : ANY).filter((set) => set.every((method) => offered.includes(method)));
}

/** A password alone must not take away what protects against its theft. */
function hasSecond({ methods }: Principal): boolean {
  return methods.some(({ method }) => SECOND.some((set) => set.includes(method)));
}
