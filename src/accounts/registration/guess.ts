import { stateOf } from "../../core/request-state.js";
import type { Refusal } from "../../core/response/problem.js";
import { accountHash } from "../../rate-limit/login-account.js";
import type { ModuleHost } from "../../module-host.js";
import type { Exchange } from "../http/route.js";
import type { PasswordMaker } from "../passwords/new-password.js";
import { invalidCredentials } from "../refusals.js";
import type { Registration } from "./pending.js";

/** Compares a password with that of a registration. Returns the refusal of a wrong one, or of one guess too many. */
export type Guess = (
  exchange: Exchange,
  registration: Registration,
  password: string,
  subject?: string,
) => Promise<Refusal | undefined>;

/** Guesses count as log-ins do: before the password is compared. */
export function guessing(host: ModuleHost, maker: PasswordMaker): Guess {
  return async ({ req, res, time }, { login, password: data }, password, subject) => {
    const state = stateOf(req);
    const limited = await host.loginCounters().attempt(accountHash(login), req, res, state);
    if (limited !== undefined) return limited.refusal;
    const isRight = await time.besides(() => maker.matches(data, password, [state.address(req)]));
    return isRight ? undefined : invalidCredentials("registration-password", subject);
  };
}
