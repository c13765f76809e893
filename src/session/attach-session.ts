import type { NextFunction, Request, Response } from "express";
import { pathOf } from "../core/http/authority.js";
import { effectiveHost } from "../core/http/effective-host.js";
import type { RunLayer } from "../core/layer.js";
import { requestContext, setPrincipal } from "../core/request-events.js";
import { type RequestState, stateOf } from "../core/request-state.js";
import { type Refusal, RETRY_SOON } from "../core/response/problem.js";
import { refuse } from "../core/response/refuse.js";
import type { Runtime } from "../core/runtime.js";
import { readSessionCookie } from "./decide.js";
import { isBelow } from "./cookie-places.js";
import { cookieFor, type SessionContext } from "./express-session.js";
import { bindSession, boundSession } from "./request-properties.js";
import { RequestSession } from "./request-session.js";

const AMBIGUOUS: Refusal = { code: "ambiguous-credentials", reason: "two-session-cookies" };
const TWO_KINDS: Refusal = { code: "ambiguous-credentials", reason: "session-and-other" };
const UNAVAILABLE: Refusal = {
  code: "store-unavailable",
  reason: "session-not-loaded",
  headers: RETRY_SOON,
  event: false,
};
const TWICE: Refusal = {
  code: "protection-not-run",
  reason: "second-session-middleware",
  detail: "Two session middlewares ran on this request. Keep one of them.",
};
/** The event is emitted once only: the mistake is in the app's set-up and the same for every request. */
const TWICE_AGAIN: Refusal = { ...TWICE, event: false };

/** Gives each request its session, and loads the one that its cookie names. */
export function attachSession(context: SessionContext): RunLayer {
  const { former, options, runtime } = context;
  const isEverywhere = options.path === "/";
  let hasWarned = false;
  return function sessionMiddleware(req, res, next, state) {
    // Express-session does the same: a new session here would replace the cookie of the one below the path.
    if (!isEverywhere && !isBelow(options.path, pathOf(req))) {
      next();
      return;
    }
    const outer = boundSession(req);
    if (outer?.context === context) {
      next();
      return;
    }
    if (outer !== undefined || req.session !== undefined) {
      // Two session layers would each send a cookie and overwrite the other's data.
      if (!hasWarned) {
        process.emitWarning(
          "Two session middlewares ran on the same request. Keep one of them. If a secured app is mounted in another one, set session: false in the inner app.",
          { code: "PORTCULLIS_SESSION" },
        );
      }
      if (!refuse(req, res, "session", hasWarned ? TWICE_AGAIN : TWICE, options.mode)) next();
      hasWarned = true;
      return;
    }
    const current = new RequestSession(context, req, res);
    bindSession(req, current);
    const verdict = readSessionCookie(req.headers.cookie, cookieFor(context, req).name);
    if (verdict.kind === "duplicate") {
      if (options.mode === "enforce") takeBackCookies(context, req, res);
      if (!refuse(req, res, "session", AMBIGUOUS, options.mode)) next();
      return;
    }
    const value = verdict.kind === "present" ? verdict.value : undefined;
    const oldSid = former?.find(req.headers.cookie);
    if (verdict.kind === "malformed" && oldSid === undefined) announceUnreadable(req, runtime);
    if (value === undefined && oldSid === undefined) next();
    else loadSession(current, value, oldSid, next, state);
  };
}

/** Whether the request names a stored session, which is loaded then. */
export function namesSession(context: SessionContext, req: Request): boolean {
  if (boundSession(req) !== undefined || req.session !== undefined) return false;
  const cookies = req.headers.cookie;
  return (
    readSessionCookie(cookies, cookieFor(context, req).name).kind === "present" ||
    context.former?.find(cookies) !== undefined
  );
}

/**
 * Makes the browser drop all its cookies of our name. After a change of `domain` or `path` it would otherwise send the
 * old one beside the new one for ever. A server does not see the domain and path of a cookie, so every possible one is
 * cleared.
 */
function takeBackCookies(context: SessionContext, req: Request, res: Response): void {
  if (res.headersSent) return;
  const lines = cookieFor(context, req).clearEverywhere(effectiveHost(req), pathOf(req) ?? "/");
  stateOf(req).headersOf(res).release(res);
  const before = res.getHeader("Set-Cookie");
  res.setHeader("Set-Cookie", [...(before === undefined ? [] : [before].flat().map(String)), ...lines]);
}

function loadSession(
  current: RequestSession,
  value: string | undefined,
  oldSid: string | undefined,
  next: NextFunction,
  state: RequestState,
): void {
  const { req, res, context } = current;
  const {
    options: { mode },
    runtime,
  } = context;
  const earlier = req.principal;
  current.load(value, oldSid, (error) => {
    if (error != null) {
      if (!refuse(req, res, "session", UNAVAILABLE, mode)) next();
      return;
    }
    if (earlier !== undefined && req.principal !== earlier) {
      req.principal = earlier;
      if (!refuse(req, res, "session", TWO_KINDS, mode)) next();
      return;
    }
    if (req.principal?.kind === "session") setPrincipal(req, state, runtime, "session", req.principal);
    next();
  });
}

function announceUnreadable(req: Request, runtime: Runtime): void {
  runtime.events.emit("input_validation_fail", () => ({
    source: "session",
    reason: "malformed-cookie",
    ...requestContext(req),
  }));
}
