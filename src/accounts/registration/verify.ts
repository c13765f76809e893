import { z } from "zod";
import { challenge } from "../../core/http/authorization.js";
import type { Refusal } from "../../core/response/problem.js";
import type { AccountsContext } from "../context.js";
import { deliverField, passwordField, tickField, tokenField } from "../http/fields.js";
import { type Exchange, type Reply, route, type Route } from "../http/route.js";
import { linkEnded } from "../refusals.js";
import type { Completion } from "./complete.js";
import type { Guess } from "./guess.js";
import { type Registrations, registrationOf } from "./pending.js";

const body = z.strictObject({
  token: tokenField,
  /** That of the registration, in another browser; a form may leave it empty. */
  password: z.union([z.literal(""), passwordField]).optional(),
  remember: tickField,
  deliver: deliverField,
});

const ENDED = linkEnded("registration-link");

const PASSWORD_NEEDED: Refusal = Object.freeze({
  code: "missing-credentials",
  reason: "registration-password",
  detail: "Another browser began this registration. Send the password that was chosen there.",
  headers: { "WWW-Authenticate": challenge("Session") },
});

/**
 * `POST /email/verify`: finishes a registration by its link. The link shows that the mailbox is the person's; that the
 * registration is theirs too, the cookie of the browser that registered shows, or its password. Without either, nothing is
 * verified and nothing is spent: a stranger may have registered the address of somebody else and wait for the click. A
 * registration that got no mail, because strangers had used them up, is finished in its browser by any link to the address.
 */
export function verifyRoute(
  { deliveries }: AccountsContext,
  registrations: Registrations,
  completion: Completion,
  guess: Guess,
): Route {
  async function handle(exchange: Exchange<z.output<typeof body>>): Promise<Reply> {
    const { req, time } = exchange;
    const { token, password = "", remember, deliver } = exchange.body;
    const undeliverable = deliveries.undeliverable(deliver);
    if (undeliverable !== undefined) return undeliverable;
    const linked = await registrations.withToken(token, time);
    const named = linked && registrationOf(linked);
    if (linked === undefined || named === undefined) return ENDED;
    const unmailed = await registrations.unmailedOf(req, named.login, time);
    const own = unmailed && registrationOf(unmailed);
    if (unmailed !== undefined && own !== undefined)
      return completion.run(exchange, unmailed, own, { remember, deliver });
    if (!registrations.isOfBrowser(req, named)) {
      if (password === "") return PASSWORD_NEEDED;
      const refusal = await guess(exchange, named, password);
      if (refusal !== undefined) return refusal;
    }
    return completion.run(exchange, linked, named, { remember, deliver });
  }

  return route({
    method: "POST",
    path: "/email/verify",
    body,
    access: "anyone",
    page: "verifyEmail",
    hasToken: true,
    handle,
  });
}
