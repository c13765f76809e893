import { z } from "zod";
import type { AccountsContext, AccountsPart } from "./context.js";
import { tokenField } from "./http/fields.js";
import { type Answer, type Exchange, type Reply, route } from "./http/route.js";
import type { Refusal } from "../core/response/problem.js";

const NO_SUCH_SESSION: Refusal = Object.freeze({
  code: "not-found",
  reason: "session",
  event: "input_validation_fail",
});
const LOGGED_OUT: Answer = Object.freeze({ status: 204, next: "after-logout" });

const logOutBody = z.strictObject({
  /** Of a client without cookies: the secret of its log-in that is not finished. */
  pending: tokenField.optional(),
});

/** `POST /logout`, `GET /sessions`, `DELETE /sessions/:handle`: where a person is logged in. */
export function createSessions({ host, gate }: AccountsContext): AccountsPart {
  async function logOut(exchange: Exchange<z.output<typeof logOutBody>>): Promise<Reply> {
    const { req, res, body } = exchange;
    const { principal } = req;
    await gate.abandon(exchange, body.pending);
    if (principal?.kind === "jwt" && typeof principal.claims.fam === "string")
      await host.jwt?.endFamily(principal.claims.fam, { subject: principal.id });
    await host.session?.logOut(req, res);
    return LOGGED_OUT;
  }

  async function list({ req }: Exchange): Promise<Reply> {
    const { principal } = req;
    const found = (await host.session?.list(principal?.id ?? "")) ?? [];
    const sessions = found.map((one) => ({ ...one, isCurrent: one.handle === principal?.credentialId }));
    return { status: 200, body: { sessions } };
  }

  async function end({ req }: Exchange): Promise<Reply> {
    const ended = await host.session?.end(req.principal?.id ?? "", String(req.params.handle));
    return (ended ?? 0) > 0 ? { status: 204 } : NO_SUCH_SESSION;
  }

  return {
    routes: [
      route({ method: "POST", path: "/logout", body: logOutBody, access: "anyone", page: "account", handle: logOut }),
      route({ method: "GET", path: "/sessions", access: "person", page: "account", handle: list }),
      route({ method: "DELETE", path: "/sessions/:handle", access: "person", page: "account", handle: end }),
    ],
  };
}
