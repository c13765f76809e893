import { requestContext } from "../../core/request-events.js";
import type { AccountsContext } from "../context.js";
import { refusalOfError } from "../http/refusal-of-error.js";
import { type Answer, type Exchange, isRefusal, type Reply } from "../http/route.js";
import type { Arrival } from "./arrival.js";

/**
 * Enters the gate after a change that holds already, such as a new password by a link that is spent now. When no log-in can
 * follow, because a store is down, say, a refusal would look as if nothing was done: the answer says what was done, and
 * that the person can log in with it.
 *
 * @param done what was done, for the page to log in
 */
export async function enterAfter(
  { gate, host }: AccountsContext,
  exchange: Exchange,
  arrival: Arrival,
  done: string,
): Promise<Reply> {
  const { person } = arrival;
  const withoutLogIn = (reason: string): Answer => {
    const facts = { source: "accounts", reason, ...requestContext(exchange.req), subject: person.id };
    host.runtime.events.emit("authn_login_fail", () => facts);
    return { status: 200, body: { status: "login-required" }, next: "login", done };
  };
  try {
    const reply = await gate.enter(exchange, arrival);
    // What was done is undone only by another change of the password or factor.
    return isRefusal(reply) && reply.reason !== "changed-meanwhile" ? withoutLogIn(reply.reason) : reply;
  } catch (error) {
    const refusal = refusalOfError(error);
    if (refusal === undefined) throw error;
    return withoutLogIn(refusal.reason);
  }
}
