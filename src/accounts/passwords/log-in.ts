import { z } from "zod";
import { only } from "../../core/authentication.js";
import { stateOf } from "../../core/request-state.js";
import type { AccountsContext } from "../context.js";
import { deliverField, loginField, passwordField, returnToField, tickField } from "../http/fields.js";
import { type Exchange, type Reply, route, type Route } from "../http/route.js";
import { invalidCredentials } from "../refusals.js";
import type { TrustedDevices } from "./devices.js";
import type { PasswordProver } from "./prover.js";
import type { PasswordUpkeep } from "./upkeep.js";

const body = z.strictObject({
  login: loginField,
  password: passwordField,
  remember: tickField,
  deliver: deliverField,
  returnTo: returnToField,
});

/** `POST /login`: a name and a password. */
export function passwordLogIn(
  { host, users, gate, deliveries }: AccountsContext,
  parts: { readonly prover: PasswordProver; readonly upkeep: PasswordUpkeep; readonly devices: TrustedDevices },
): Route {
  const { prover, upkeep, devices } = parts;

  async function handle(exchange: Exchange<z.output<typeof body>>): Promise<Reply> {
    const { req, res, time } = exchange;
    const { login, password, remember, deliver, returnTo } = exchange.body;
    const undeliverable = deliveries.undeliverable(deliver);
    if (undeliverable !== undefined) return undeliverable;
    const state = stateOf(req);
    const limited = await host.loginCounters().attempt(devices.accountOf(req, login), req, res, state);
    if (limited !== undefined) return limited.refusal;
    const person = await time.besides(() => users.findByLogin(login));
    const callers = [state.address(req)];
    const proof = await prover.prove({ person, login, typed: password, req, callers, time });
    if (person === undefined || !proof.ok) return invalidCredentials(proof.ok ? "unknown" : proof.reason, person?.id);
    await upkeep.after(person, proof, { callers }, time);
    const methods = only("pwd", host.runtime.clock.now());
    const restsOn = [proof.credential.id];
    return gate.enter(exchange, { person, methods, remember, deliver, returnTo, restsOn });
  }
  return route({ method: "POST", path: "/login", body, access: "anyone", page: "login", hasReturnTo: true, handle });
}
