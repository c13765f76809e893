import { z } from "zod";
import { accountHash } from "../../rate-limit/login-account.js";
import type { AccountsContext } from "../context.js";
import { loginField } from "../http/fields.js";
import { type Exchange, type Reply, route, type Route, SENT } from "../http/route.js";
import { newLink } from "../links.js";
import { mailAddressOf } from "../mail-address.js";
import { type MailLimits, RESET_LINK_MS } from "../mail-limits.js";
import { RESET_KIND } from "../passwords/record.js";
import { tokenHash } from "../secrets.js";
import type { Person } from "../types.js";

const body = z.strictObject({ login: loginField });

/**
 * `POST /password/forgot`: sends a link to a new password. The answer and the work are the same whoever is named: a name
 * that gets no mail, because it is unknown, disabled, without an address or over its limit, costs the same counts and the
 * same write, of a link that nobody gets. The mail is sent after the answer.
 */
export function forgotRoute(
  { host, settings, users, credentials, notices }: AccountsContext,
  limits: MailLimits,
): Route {
  async function handle(exchange: Exchange<z.output<typeof body>>): Promise<Reply> {
    const { req, time } = exchange;
    if (!(await limits.silentlyFromAddress(req, "password-forgot"))) return SENT;
    const account = accountHash(exchange.body.login);
    const named = await time.besides(() => users.findByLogin(exchange.body.login));
    const found = named !== undefined && getsMail(named) ? named : undefined;
    const isAllowed = await limits.reset(req, resetAccount(found?.id ?? `unknown ${account}`));
    const receiver = isAllowed ? found : undefined;
    const ownerId = receiver?.id ?? decoyOwner(account);
    const now = host.runtime.clock.now();
    const { link, credential } = newLink(settings, "resetPassword", {
      kind: RESET_KIND,
      ownerId,
      data: { address: addressHash(receiver) ?? account },
      now,
      lifeMs: RESET_LINK_MS,
    });
    await credentials
      .write(
        (store, call) => store.change(ownerId, { removeKinds: [RESET_KIND], insert: [credential] }, call),
        ownerId,
        time,
      )
      .catch((error: unknown) => {
        limits.giveBack(req);
        throw error;
      });
    if (receiver !== undefined) {
      const { user } = receiver;
      const expiresAt = now + RESET_LINK_MS;
      notices.send({ kind: "password-reset", user, link, expiresAt }, () => limits.giveBackUnsent(req));
    }
    return SENT;
  }
  return route({ method: "POST", path: "/password/forgot", body, access: "anyone", page: "forgotPassword", handle });
}

function getsMail(person: Person): boolean {
  return !person.isDisabled && mailAddressOf(person) !== undefined;
}

/** To which address a link goes, as a hash: when the person has another one since, the link has ended. */
export function addressHash(person: Person | undefined): string | undefined {
  const address = person && mailAddressOf(person);
  return address === undefined ? undefined : tokenHash(address);
}

/** The client of the windows that limit mail to a person, or to nobody. */
export function resetAccount(who: string): string {
  return `reset ${who}`;
}

/** Nobody, who gets the links that are not sent. There are few of them, so that they fill no store. */
function decoyOwner(account: string): string {
  return `no person ${account.slice(0, 1)}`;
}
