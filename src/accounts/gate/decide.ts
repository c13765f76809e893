import type { AuthenticationMethod, AuthenticationMethodName } from "../../core/authentication.js";

/** A second factor as `POST /login/factor` names it. */
export type SecondFactorName = Extract<AuthenticationMethodName, "totp" | "webauthn" | "recovery">;

/** What a person has, and what is asked of them. */
export interface Standing {
  /** The second factors that the person can prove now. */
  readonly factors: readonly SecondFactorName[];
  /** Whether the person has a second factor of their own; recovery codes alone are none. */
  readonly hasFactor: boolean;
  /** Whether `factors.required` asks for one. */
  readonly isRequired: boolean;
  /** The second factors that a person can set up. */
  readonly enrollable: readonly SecondFactorName[];
}

export type GateVerdict =
  | { readonly verdict: "done" }
  | { readonly verdict: "factor"; readonly factors: readonly SecondFactorName[] }
  | { readonly verdict: "enrolment"; readonly methods: readonly SecondFactorName[] };

const DONE: GateVerdict = Object.freeze({ verdict: "done" });

/** Methods that are a factor besides the first. */
const SECOND: readonly AuthenticationMethodName[] = ["totp", "webauthn", "recovery"];

/** Whether a second factor has been proved. */
export function hasProvedSecond(methods: readonly AuthenticationMethod[]): boolean {
  return methods.some(({ method }) => SECOND.includes(method));
}

/**
 * Decides what a log-in still owes. A person with a second factor must prove one; a person of whom one is required and
 * who has none must set it up. Pure.
 */
export function decideGate(methods: readonly AuthenticationMethod[], standing: Standing): GateVerdict {
  if (!standing.hasFactor && !standing.isRequired) return DONE;
  if (hasProvedSecond(methods)) return DONE;
  if (standing.hasFactor) return { verdict: "factor", factors: standing.factors };
  return { verdict: "enrolment", methods: standing.enrollable };
}
