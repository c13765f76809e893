import { z } from "zod";
import type { AuthenticationMethod } from "../../core/authentication.js";
import type { Refusal } from "../../core/response/problem.js";
import type { AccountsContext } from "../context.js";
import { methodField } from "../factors/log-in.js";
import { personOf } from "../factors/person-of.js";
import { checkFactor } from "../factors/prove.js";
import { codeField, passwordField, returnToField } from "../http/fields.js";
import { type Exchange, type Reply, route, type Route } from "../http/route.js";
import type { ProvePassword } from "../passwords/prove-again.js";
import { NOT_LOGGED_IN } from "../refusals.js";
import { offeredMethods, staleRefusal } from "./stale.js";

const NO_PROOF: Refusal = Object.freeze({
  code: "invalid-request",
  reason: "proof",
  detail: "Send a password, or a method and a code.",
});

/** `POST /reauthenticate`: someone logged in proves again who they are, and their session is renewed with it. */
export function reauthentication(context: AccountsContext, provePassword: ProvePassword | undefined): Route {
  const { holdings, deliveries, host, settings } = context;
  const offered = offeredMethods(settings);
  const body = z.strictObject({
    password: passwordField.optional(),
    method: methodField(holdings.factors).optional(),
    code: codeField.optional(),
    returnTo: returnToField,
  });
  type Body = z.output<typeof body>;

  async function prove(exchange: Exchange<Body>): Promise<{ proved: AuthenticationMethod; answer: object } | Refusal> {
    const { body, time } = exchange;
    const { password, method, code } = body;
    const isOne = password === undefined ? method !== undefined && code !== undefined : (method ?? code) === undefined;
    if (!isOne) return NO_PROOF;
    const person = await personOf(context, exchange);
    if ("code" in person) return person;
    if (password !== undefined) {
      const refusal = provePassword === undefined ? NO_PROOF : await provePassword(exchange, person, password);
      if (refusal !== undefined) return refusal;
      const proved = { method: "pwd", at: host.runtime.clock.now() } as const;
      await deliveries.renew(exchange, person, [proved]);
      return { proved, answer: {} };
    }
    if (method === undefined || code === undefined) return NO_PROOF;
    const own = await holdings.credentialsOf(person.id, time);
    const right = await checkFactor(context, person, own, { method, code }, exchange);
    const proof = "code" in right ? right : await right.spend();
    if ("code" in proof) return proof;
    await deliveries.renew(exchange, person, [proof.method]);
    return { proved: proof.method, answer: proof.answer };
  }

  async function handle(exchange: Exchange<Body>): Promise<Reply> {
    const { principal } = exchange.req;
    if (principal === undefined) return NOT_LOGGED_IN;
    // What a token says of its log-in does not change: its holder logs in again.
    if (principal.kind !== "session")
      return {
        ...staleRefusal(principal, { withinSeconds: settings.freshSeconds, anyOf: undefined }, offered),
        detail: "A token cannot be made fresh. Log in again for new tokens.",
      };
    const done = await prove(exchange);
    if ("code" in done) return done;
    const { returnTo } = exchange.body;
    return { status: 200, body: { status: "done", ...done.answer }, next: "account", returnTo, done: "confirmed" };
  }

  return route({
    method: "POST",
    path: "/reauthenticate",
    body,
    access: "person",
    page: "reauthenticate",
    hasReturnTo: true,
    handle,
  });
}
