import { z } from "zod";
import { only } from "../../core/authentication.js";
import { requestContext } from "../../core/request-events.js";
import { stateOf } from "../../core/request-state.js";
import type { Refusal } from "../../core/response/problem.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import type { AccountsContext } from "../context.js";
import { enterAfter } from "../gate/enter-after.js";
import { deliverField, passwordField, tickField, tokenField } from "../http/fields.js";
import { type Exchange, type Reply, route, type Route } from "../http/route.js";
import { isLive } from "../links.js";
import type { MailLimits } from "../mail-limits.js";
import type { TrustedDevices } from "../passwords/devices.js";
import { passwordCredential, type PasswordMaker } from "../passwords/new-password.js";
import { ENDS_WITH_PASSWORD, RESET_KIND } from "../passwords/record.js";
import { CHANGED_MEANWHILE, linkEnded, passwordRefused } from "../refusals.js";
import { tokenHash } from "../secrets.js";
import { LinkClaims } from "./claim.js";
import { addressHash, resetAccount } from "./forgot.js";

const body = z.strictObject({
  token: tokenField,
  password: passwordField,
  /** Whether the person's API keys end too. */
  revokeKeys: tickField,
  remember: tickField,
  deliver: deliverField,
});

const ENDED = linkEnded("reset-link", "authn_password_change_fail");
const IN_USE: Refusal = Object.freeze({
  code: "conflict",
  reason: "reset-link-in-use",
  detail: "Another request sets a password by this link now. Log in with that password.",
  event: "authn_password_change_fail",
});

/**
 * `POST /password/reset`: sets a new password by a link. One change of the store spends the link and sets the password, so
 * that of several requests one does; a password against the rules leaves the link as it was. The person is logged out
 * everywhere before that, by the one request that has claimed the link, and goes through the gate after it: the mailbox
 * does not stand in for a second factor.
 */
export function redeemRoute(
  context: AccountsContext,
  { maker, devices }: { readonly maker: PasswordMaker; readonly devices: TrustedDevices },
  limits: MailLimits,
): Route {
  const { host, users, credentials, notices, holdings, deliveries, compromise } = context;
  const { runtime } = host;
  const claims = new LinkClaims(context);

  async function handle(exchange: Exchange<z.output<typeof body>>): Promise<Reply> {
    const { req, res, time } = exchange;
    const { token, revokeKeys, remember, deliver } = exchange.body;
    const undeliverable = deliveries.undeliverable(deliver);
    if (undeliverable !== undefined) return undeliverable;
    const name = tokenHash(token);
    const link = await credentials.read((store) => store.find(RESET_KIND, name), name, time);
    if (link === undefined || !isLive(link, runtime.clock.now())) return ENDED;
    if (claims.isClaimed(link)) return IN_USE;
    const person = await time.besides(() => users.findById(link.ownerId));
    if (person === undefined || person.isDisabled || addressHash(person) !== link.data.address) return ENDED;
    const own = await holdings.credentialsOf(person.id, time);
    const made = await time.besides(() =>
      maker.newPasswordData(person, exchange.body.password, own, [stateOf(req).address(req)]),
    );
    if (!made.ok) return passwordRefused(made.reasons, person.id);

    const release = await claims.claim(link, time);
    if (release === undefined) return (await isThere(name, time)) ? IN_USE : ENDED;
    const { end, endIfLate } = compromise.of(person.id, { reason: "password-reset", revokeKeys });
    const now = runtime.clock.now();
    const password = passwordCredential(person.id, made.data, now);
    const change = { remove: [link.id], removeKinds: ENDS_WITH_PASSWORD, update: made.update, insert: [password] };
    let apiKeys: Awaited<ReturnType<typeof end>>;
    let isDone = false;
    try {
      // Before the link is spent: when a store fails here, the same call can be made again.
      // A session of the same person in this browser would be renewed by the log-in, but it ends as the others do.
      // The browser keeps its cookies: one of them may be that of the log-in that begins here.
      if (req.principal?.kind === "session" && req.principal.id === person.id)
        await host.session?.logOut(req, res, { clearSiteData: ["cache", "storage"] });
      apiKeys = await time.besides(() => end());
      isDone = await credentials.write(
        (store, call) => store.change(person.id, change, call),
        person.id,
        time,
        endIfLate,
      );
    } finally {
      if (!isDone) await release();
    }
    if (!isDone) return (await isThere(name, time)) ? CHANGED_MEANWHILE : ENDED;

    const facts = requestContext(req);
    runtime.events.emit("authn_password_change", () => ({
      ...facts,
      source: "accounts",
      reason: "reset",
      subject: person.id,
    }));
    // Once more, for a log-in in between. Its store has announced a failure, and what it accepted is repeated until it holds.
    await time.besides(() => end().catch(() => undefined));
    notices.send({ kind: "password-changed", user: person.user, ...(apiKeys.length === 0 ? {} : { apiKeys }) });
    await Promise.all([limits.forgetReset(req, resetAccount(person.id)), devices.forgetFailures(person, req)]);
    const methods = only("pwd", runtime.clock.now());
    const arrival = { person, methods, remember, deliver, restsOn: [password.id] };
    return enterAfter(context, exchange, arrival, "password-changed");
  }

  async function isThere(name: string, time: StoreTime): Promise<boolean> {
    return (await credentials.read((store) => store.find(RESET_KIND, name), name, time)) !== undefined;
  }

  return route({
    method: "POST",
    path: "/password/reset",
    body,
    access: "anyone",
    page: "resetPassword",
    hasToken: true,
    handle,
  });
}
