import { z } from "zod";
import { only } from "../../core/authentication.js";
import type { Principal } from "../../core/principal.js";
import { requestContext } from "../../core/request-events.js";
import { stateOf } from "../../core/request-state.js";
import type { Refusal } from "../../core/response/problem.js";
import type { StoredCredential } from "../../stores/contracts.js";
import type { AccountsContext } from "../context.js";
import { passwordField, tickField } from "../http/fields.js";
import { type Exchange, type Reply, route, type Route } from "../http/route.js";
import { CHANGED_MEANWHILE, invalidCredentials, NOT_LOGGED_IN, passwordRefused } from "../refusals.js";
import { isFresh } from "../step-up/decide.js";
import { offeredMethods, staleRefusal } from "../step-up/stale.js";
import type { Person } from "../types.js";
import type { TrustedDevices } from "./devices.js";
import { passwordCredential, type PasswordMaker } from "./new-password.js";
import type { PasswordProver } from "./prover.js";
import { ENDS_WITH_PASSWORD, PASSWORD_KIND } from "./record.js";

const body = z.strictObject({
  /** The password so far. A person who has none proves who they are in another way first. */
  current: passwordField.optional(),
  /** The new one. */
  password: passwordField,
  /** Whether the person's API keys end too. */
  revokeKeys: tickField,
});

type Change = Exchange<z.output<typeof body>>;

/** `POST /password`: a person changes their password. The one so far proves who they are, as at a log-in. */
export function passwordChange(
  context: AccountsContext,
  parts: { readonly prover: PasswordProver; readonly maker: PasswordMaker; readonly devices: TrustedDevices },
): Route {
  const { host, users, credentials, holdings, deliveries, compromise, notices, settings } = context;
  const { clock, events } = host.runtime;

  async function handle(exchange: Change): Promise<Reply> {
    const { principal } = exchange.req;
    if (principal === undefined) return NOT_LOGGED_IN;
    const person = await exchange.time.besides(() => users.findById(principal.id));
    if (person === undefined || person.isDisabled) return invalidCredentials("disabled", principal.id);
    const own = await holdings.credentialsOf(person.id, exchange.time);
    const password = own.find(({ kind }) => kind === PASSWORD_KIND);
    return (await refusalOf(exchange, person, principal, password)) ?? change(exchange, person, own, password);
  }

  /** Why the person has not proved who they are. */
  async function refusalOf(
    { req, res, time, body: { current } }: Change,
    person: Person,
    principal: Principal,
    password: StoredCredential | undefined,
  ): Promise<Refusal | undefined> {
    if (password === undefined) {
      const policy = { withinSeconds: settings.freshSeconds, anyOf: undefined };
      if (isFresh(principal, policy, clock.now())) return undefined;
      const stale = staleRefusal(principal, policy, offeredMethods(settings));
      return { ...stale, event: "authn_password_change_fail", subject: person.id };
    }
    const state = stateOf(req);
    const { login, id } = person;
    const limited = await host.loginCounters().attempt(parts.devices.accountOf(req, login), req, res, state);
    if (limited !== undefined) return limited.refusal;
    const callers = [state.address(req)];
    const proof = await parts.prover.prove({ person, login, typed: current ?? "", req, callers, time });
    if (!proof.ok) return { ...invalidCredentials(proof.reason, id), event: "authn_password_change_fail" };
    // The units of the log-in counters are given back as at a log-in.
    state.onLogIn?.();
    return undefined;
  }

  /**
   * Ends what the old password opened before the new one is stored, and once more after that, for a log-in in between: so
   * an answer other than 204 means that the password is the old one.
   */
  async function change(
    exchange: Change,
    person: Person,
    own: readonly StoredCredential[],
    password: StoredCredential | undefined,
  ): Promise<Reply> {
    const { req, time, body: given } = exchange;
    const { id, user } = person;
    const callers = [stateOf(req).address(req)];
    const made = await time.besides(() => parts.maker.newPasswordData(person, given.password, own, callers));
    if (!made.ok) return passwordRefused(made.reasons, id);
    const ending = compromise.of(id, { reason: "password-changed", revokeKeys: given.revokeKeys });
    const apiKeys = await ending.end(req.principal);
    const now = clock.now();
    if (password !== undefined && req.principal?.kind === "session")
      await deliveries.renew(exchange, person, only("pwd", now));
    const isChanged = await credentials.write(
      (store, call) =>
        store.change(
          id,
          {
            remove: password === undefined ? [] : [password.id],
            removeKinds: ENDS_WITH_PASSWORD.filter((kind) => kind !== PASSWORD_KIND),
            update: made.update,
            insert: [passwordCredential(id, made.data, now)],
          },
          call,
        ),
      id,
      time,
    );
    if (!isChanged) return CHANGED_MEANWHILE;
    // Its store has announced a failure, and what it accepted is repeated until it holds.
    await ending.end(req.principal).catch(() => undefined);
    events.emit("authn_password_change", () => ({ source: "accounts", ...requestContext(req), subject: id }));
    notices.send({ kind: "password-changed", user, ...(apiKeys.length === 0 ? {} : { apiKeys }) });
    await parts.devices.forgetFailures(person, req);
    if (req.principal?.kind === "session") await parts.devices.welcome(exchange, person);
    return { status: 204, next: "account", done: "password-changed" };
  }

  return route({ method: "POST", path: "/password", body, access: "person", page: "account", handle });
}
