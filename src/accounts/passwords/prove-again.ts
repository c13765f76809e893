import { stateOf } from "../../core/request-state.js";
import type { Refusal } from "../../core/response/problem.js";
import { accountHash } from "../../rate-limit/login-account.js";
import type { AccountsContext } from "../context.js";
import type { Exchange } from "../http/route.js";
import { invalidCredentials } from "../refusals.js";
import type { Person } from "../types.js";
import type { PasswordHasher } from "./hasher.js";

/** Checks the password of someone who is logged in, and counts the attempt as a log-in does. */
export type ProvePassword = (exchange: Exchange, person: Person, password: string) => Promise<Refusal | undefined>;

/** @returns `undefined` from the function for a right password */
export function passwordProof({ host, credentials }: AccountsContext, hasher: PasswordHasher): ProvePassword {
  return async ({ req, res, time }, { id, login }, password) => {
    const state = stateOf(req);
    const limited = await host.loginCounters().attempt(accountHash(login), req, res, state);
    if (limited !== undefined) return limited.refusal;
    const found = await credentials.read((store) => store.find("password", id), id, time);
    const hash = found?.data.hash;
    const isRight = await time.besides(() =>
      hasher.verify(typeof hash === "string" ? hash : undefined, password, [state.address(req)]),
    );
    return isRight ? undefined : invalidCredentials("wrong-password", id);
  };
}
