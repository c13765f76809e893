import { z } from "zod";
import type { Refusal } from "../../core/response/problem.js";
import { TokenError } from "../../jwt/errors.js";
import type { AccountsContext, AccountsPart } from "../context.js";
import { tokenField } from "../http/fields.js";
import { familyOf, loginOf } from "./login-of.js";
import { type Answer, type Exchange, type Reply, route } from "../http/route.js";

const NO_SUCH_SESSION: Refusal = Object.freeze({
  code: "not-found",
  reason: "session",
  event: "input_validation_fail",
});
const LOGGED_OUT: Answer = Object.freeze({ status: 204, next: "after-logout" });
const ENDED: Answer = Object.freeze({ status: 204 });

/** Most sessions, and most token families, in one answer. */
const LISTED = 100;

/** The form of a handle of a session and of the id of a token family. */
const HANDLE = /^[\w-]{22}$/;

const logOutBody = z.strictObject({
  /** Of a client without cookies: the secret of its log-in that is not finished. */
  pending: tokenField.optional(),
});

/** One place where a person is logged in. Times are milliseconds since the epoch. */
interface ListedSession {
  readonly handle: string;
  /** A session of a browser, or tokens of a client without cookies. */
  readonly kind: "session" | "tokens";
  readonly label?: string;
  readonly createdAt: number;
  readonly lastSeenAt: number;
  readonly expiresAt: number;
  readonly isCurrent: boolean;
}

/**
 * `POST /logout`, `GET /sessions`, `DELETE /sessions/:handle`: where a person is logged in, with sessions and with
 * tokens.
 */
export function createSessions({ host, unfinished }: AccountsContext): AccountsPart {
  const { session, jwt } = host;

  async function logOut(exchange: Exchange<z.output<typeof logOutBody>>): Promise<Reply> {
    const { req, res, body } = exchange;
    const { principal } = req;
    await unfinished.abandon(exchange, body.pending);
    const family = principal === undefined ? undefined : familyOf(principal);
    if (family !== undefined) await jwt?.endFamily(family, { subject: principal?.id ?? "" });
    // The browser keeps the cookie by which it is a known device: the next log-in needs it while strangers guess.
    await session?.logOut(req, res, { clearSiteData: ["cache", "storage"] });
    return LOGGED_OUT;
  }

  async function list({ req }: Exchange): Promise<Reply> {
    const { principal } = req;
    if (principal === undefined) return NO_SUCH_SESSION;
    const [sessions, families] = await Promise.all([
      session?.list(principal.id) ?? [],
      jwt?.families(principal.id, { limit: LISTED }) ?? [],
    ]);
    const current = loginOf(principal);
    const all = [
      ...sessions.map(({ handle, label, createdAt, lastSeenAt, expiresAt }): ListedSession => {
        const times = { createdAt, lastSeenAt, expiresAt };
        return { handle, kind: "session", ...labelled(label), ...times, isCurrent: handle === current };
      }),
      ...families.map(({ id: handle, label, createdAt, lastUsedAt: lastSeenAt, expiresAt }): ListedSession => {
        const times = { createdAt, lastSeenAt, expiresAt };
        return { handle, kind: "tokens", ...labelled(label), ...times, isCurrent: handle === current };
      }),
    ];
    return { status: 200, body: { sessions: all.sort((a, b) => b.lastSeenAt - a.lastSeenAt).slice(0, LISTED) } };
  }

  async function end({ req }: Exchange): Promise<Reply> {
    const { handle } = req.params;
    const subject = req.principal?.id ?? "";
    if (typeof handle !== "string" || !HANDLE.test(handle)) return NO_SUCH_SESSION;
    if (((await session?.end(subject, handle)) ?? 0) > 0) return ENDED;
    const isEnded = await jwt?.endFamily(handle, { subject }).catch((error: unknown) => {
      if (error instanceof TokenError && error.code === "invalid-input") return false;
      throw error;
    });
    return isEnded === true ? ENDED : NO_SUCH_SESSION;
  }

  return {
    routes: [
      route({ method: "POST", path: "/logout", body: logOutBody, access: "anyone", page: "account", handle: logOut }),
      route({ method: "GET", path: "/sessions", access: "person", page: "account", handle: list }),
      route({ method: "DELETE", path: "/sessions/:handle", access: "person", page: "account", handle: end }),
    ],
  };
}

function labelled(label: string | null | undefined): { label?: string } {
  return label === null || label === undefined ? {} : { label };
}
