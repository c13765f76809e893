import { z } from "zod";
import { stateOf } from "../../core/request-state.js";
import { accountHash } from "../../rate-limit/login-account.js";
import type { AccountsContext } from "../context.js";
import { deliverField, newLoginField, passwordField, tickField } from "../http/fields.js";
import { type Exchange, type Reply, route, type Route, SENT } from "../http/route.js";
import { isLive } from "../links.js";
import { isMailAddress } from "../mail-address.js";
import type { MailLimits } from "../mail-limits.js";
import type { PasswordMaker } from "../passwords/new-password.js";
import { passwordRefused } from "../refusals.js";
import type { Person } from "../types.js";
import { type Completion, TAKEN } from "./complete.js";
import type { Guess } from "./guess.js";
import { REGISTRATION_MS, type Registrations, registrationOf } from "./pending.js";

const body = z.strictObject({
  login: newLoginField,
  password: passwordField,
  /** For a person who is made at once; with `notify` the log-in comes with `POST /email/verify`. */
  remember: tickField,
  deliver: deliverField,
});

type Body = z.output<typeof body>;

/** What the two ways to register share. */
interface Parts {
  readonly maker: PasswordMaker;
  readonly limits: MailLimits;
  readonly registrations: Registrations;
}

/**
 * `POST /register` where the app can send mail: the answer is the same whether the name is free or taken, and so is the
 * work, since the registration of a taken name is stored too. Its link is sent to nobody; the owner is told instead.
 */
export function registerByMail(context: AccountsContext, { maker, limits, registrations }: Parts): Route {
  const { users, notices } = context;

  async function handle({ req, res, time, body: { login, password } }: Exchange<Body>): Promise<Reply> {
    if (!(await limits.silentlyFromAddress(req, "register"))) return SENT;
    const made = await time.besides(() => maker.newPasswordData(ownerOf(login), password, [], callersOf(req)));
    if (!made.ok) return passwordRefused(made.reasons);
    const person = await time.besides(() => users.findByLogin(login));
    const account = accountHash(login);
    const fate = await limits.registration(req, account);
    if (fate === "dropped") return SENT;
    const isTold = fate === "mail" && (await limits.registrationOf(req, person?.id ?? `nobody ${account}`));
    const pending = { login, password: made.data, isMailed: fate === "mail" };
    const { link, credential, secret } = await registrations.add(pending, time).catch((error: unknown) => {
      limits.giveBack(req);
      throw error;
    });
    registrations.giveCookie(res, secret);
    if (!pending.isMailed) return SENT;
    const onUnsent = (): void => limits.giveBackUnsent(req);
    if (person === undefined) {
      const expiresAt = credential.createdAt + REGISTRATION_MS;
      notices.send({ kind: "verify-email", user: newUser(login), link, expiresAt }, onUnsent);
    } else if (isTold && !person.isDisabled) notices.send({ kind: "account-exists", user: person.user }, onUnsent);
    return SENT;
  }

  return registerRoute(handle);
}

/** `POST /register` where the app cannot send mail: the person is made at once, and a name that is taken is told. */
export function registerAtOnce(
  context: AccountsContext,
  { maker, limits, registrations }: Parts,
  completion: Completion,
  guess: Guess,
): Route {
  const { users } = context;

  async function handle(exchange: Exchange<Body>): Promise<Reply> {
    const { req, time } = exchange;
    const { login, password, remember, deliver } = exchange.body;
    const undeliverable = context.deliveries.undeliverable(deliver);
    if (undeliverable !== undefined) return undeliverable;
    const limited = await limits.fromAddress(req, "register");
    if (limited !== undefined) return limited;
    const person = await time.besides(() => users.findByLogin(login));
    if (person !== undefined) return goOn(exchange, person);
    const made = await time.besides(() => maker.newPasswordData(ownerOf(login), password, [], callersOf(req)));
    if (!made.ok) return passwordRefused(made.reasons);
    const { credential } = await registrations.add({ login, password: made.data, isMailed: false }, time);
    const registration = registrationOf(credential);
    return registration === undefined
      ? TAKEN
      : completion.run(exchange, credential, registration, { remember, deliver });
  }

  /** The name is taken, unless by a registration of the same password that could not be finished. */
  async function goOn(exchange: Exchange<Body>, { id }: Person): Promise<Reply> {
    const { login, password, remember, deliver } = exchange.body;
    const begun = (await registrations.of(login, exchange.time)).filter(
      (one) => isLive(one, context.host.runtime.clock.now()) && registrationOf(one)?.isBegun === true,
    );
    const last = begun.at(-1);
    const registration = last && registrationOf(last);
    if (last === undefined || registration === undefined) return TAKEN;
    const refusal = await guess(exchange, registration, password, id);
    return refusal === undefined ? completion.run(exchange, last, registration, { remember, deliver }) : TAKEN;
  }

  return registerRoute(handle);
}

function registerRoute(handle: (exchange: Exchange<Body>) => Promise<Reply>): Route {
  return route({ method: "POST", path: "/register", body, access: "anyone", page: "register", handle });
}

function callersOf(req: Exchange["req"]): string[] {
  return [stateOf(req).address(req)];
}

function ownerOf(login: string): { login: string; email: string | undefined } {
  return { login, email: isMailAddress(login) ? login : undefined };
}

/** To whom the link goes: there is no person yet. */
function newUser(login: string): { login: string; email?: string } {
  return isMailAddress(login) ? { login, email: login } : { login };
}
