import { z } from "zod";
import type { AccountsContext } from "../context.js";
import type { SecondFactorName } from "../gate/decide.js";
import { codeField, tokenField } from "../http/fields.js";
import { type Exchange, type Reply, route, type Route } from "../http/route.js";
import type { SecondFactor } from "./factor.js";
import { checkFactor } from "./prove.js";

/** The names of the factors that are on; another one is a wrong request. */
export function methodField(factors: readonly SecondFactor[]): z.ZodType<SecondFactorName> {
  return z.enum(factors.map(({ method }) => method));
}

/** `POST /login/factor`: a code for a log-in that owes one. */
export function factorLogIn(context: AccountsContext): Route {
  const { gate, holdings, unfinished } = context;
  const body = z.strictObject({
    method: methodField(holdings.factors),
    code: codeField,
    /** Of a client without cookies: what the log-in answered. */
    pending: tokenField.optional(),
  });

  async function handle(exchange: Exchange<z.output<typeof body>>): Promise<Reply> {
    const { pending } = exchange.body;
    const resumed = await unfinished.resume(exchange, pending, "factor");
    if ("code" in resumed) return resumed;
    const right = await checkFactor(context, resumed.person, resumed.credentials, exchange.body, exchange);
    if ("code" in right) return right;
    return gate.finish(exchange, resumed, pending, right.spend);
  }

  return route({ method: "POST", path: "/login/factor", body, access: "anyone", page: "factor", handle });
}
