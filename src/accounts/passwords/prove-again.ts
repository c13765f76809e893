import { stateOf } from "../../core/request-state.js";
import type { Refusal } from "../../core/response/problem.js";
import type { AccountsContext } from "../context.js";
import type { Exchange } from "../http/route.js";
import { invalidCredentials } from "../refusals.js";
import type { Person } from "../types.js";
import type { TrustedDevices } from "./devices.js";
import type { PasswordProver } from "./prover.js";

/** Checks the password of someone who is logged in, and counts the attempt as a log-in does. */
export type ProvePassword = (exchange: Exchange, person: Person, password: string) => Promise<Refusal | undefined>;

/** The function resolves to `undefined` for a right password. */
export function passwordProof(
  { host }: AccountsContext,
  { prover, devices }: { readonly prover: PasswordProver; readonly devices: TrustedDevices },
): ProvePassword {
  return async ({ req, res, time }, person, typed) => {
    const { login } = person;
    const state = stateOf(req);
    const limited = await host.loginCounters().attempt(devices.accountOf(req, login), req, res, state);
    if (limited !== undefined) return limited.refusal;
    const proof = await prover.prove({ person, login, typed, req, callers: [state.address(req)], time });
    return proof.ok ? undefined : invalidCredentials(proof.reason, person.id);
  };
}
