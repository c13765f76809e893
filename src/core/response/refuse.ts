import type { Request, Response } from "express";
import { errorOf } from "../error-of.js";
import { prefersHtml } from "../http/accept.js";
import { mapMaybe, type MaybePromise } from "../maybe-promise.js";
import { requestContext } from "../request-events.js";
import type { RequestState } from "../request-state.js";
import { stateOf } from "../request-state.js";
import type { Runtime } from "../runtime.js";
import { problemOf, type Refusal, type RefusalCode, type RefusalKind, REFUSALS, type ReplacedBody } from "./problem.js";
import { refusalPage } from "./refusal-page.js";
import { replaceBody, type Replacement } from "./replace-body.js";
import { send } from "./send.js";

/** The default bodies, serialised once: a refusal costs less than a served request. */
const READY_BODIES = new Map<RefusalCode, string>(
  (Object.keys(REFUSALS) as RefusalCode[]).map((code) => [code, JSON.stringify(problemOf({ code }))]),
);

/**
 * Turns a refusal into an event and a response, both for the layer that handles the request now. Nothing else does.
 *
 * @param mode "report" announces the event, once per request, and does not change the response
 * @returns true when the request has been, or is being, answered; false when the layer only reports and must call
 * `next`
 */
export function refuse(
  req: Request,
  res: Response,
  source: string,
  refusal: Refusal,
  mode: "enforce" | "report" = "enforce",
): boolean {
  const state = stateOf(req);
  const { pendingLimits, runtime } = state;
  if (mode === "report") {
    if (state.isFirstReport(runtime.events, `${source} ${refusal.code} ${refusal.reason}`))
      announce(req, runtime, source, refusal, mode);
    return false;
  }
  if (pendingLimits === undefined) {
    answer(req, res, state, runtime, source, refusal);
    return true;
  }
  // Refused requests count as well; a client over its limit gets only the 429.
  const checked = mapMaybe(checkLimits(req, res, state), (allowed) => {
    if (allowed) answer(req, res, state, runtime, source, refusal);
  });
  if (checked instanceof Promise) checked.catch((error: unknown) => pendingLimits.onError(errorOf(error)));
  return true;
}

/**
 * Counts the request in its pending limits, once.
 *
 * @returns false when one of them refused the request, which has then been answered
 */
export function checkLimits(req: Request, res: Response, state: RequestState): MaybePromise<boolean> {
  const { pendingLimits, runtime } = state;
  if (pendingLimits === undefined) return true;
  state.pendingLimits = undefined;
  return mapMaybe(pendingLimits.consume(state), (refused) => {
    if (refused !== undefined) answer(req, res, state, runtime, refused.source, refused.refusal);
    return refused === undefined;
  });
}

function answer(
  req: Request,
  res: Response,
  state: RequestState,
  runtime: Runtime,
  source: string,
  refusal: Refusal,
): void {
  announce(req, runtime, source, refusal, "enforce");
  if (res.headersSent) {
    res.end();
    return;
  }
  if (refusal.redirect !== undefined || runtime.onRefusal === undefined) {
    render(
      req,
      res,
      state,
      runtime,
      refusal,
      refusal.redirect === undefined ? undefined : { redirect: refusal.redirect },
    );
    return;
  }
  const replaced = replaceBody(runtime.onRefusal, problemOf(refusal), req, refusal.isImmediate !== true);
  if (!(replaced instanceof Promise)) {
    render(req, res, state, runtime, refusal, replaced);
    return;
  }
  replaced
    .then((settled) => {
      // A time-out, for example, may have answered meanwhile.
      if (!res.headersSent) render(req, res, state, runtime, refusal, settled);
    })
    .catch((error: unknown) => res.destroy(error instanceof Error ? error : undefined));
}

/** The methods whose responses browsers show as pages: an answer to any other does not depend on Accept. */
const SHOWN = new Set(["GET", "HEAD", "POST"]);

/** Sends the answer, with Vary where it depends on Accept. */
function render(
  req: Request,
  res: Response,
  state: RequestState,
  runtime: Runtime,
  refusal: Refusal,
  replacement: Replacement,
): void {
  const headers = state.headersOf(res);
  const isShown = SHOWN.has(req.method);
  if (isShown) headers.vary("Accept");
  if (replacement !== undefined && "redirect" in replacement) {
    const lines = ["Location", replacement.redirect, "Cache-Control", "no-store", "Content-Length", "0"];
    send(res, headers, 303, lines, undefined);
    return;
  }
  const { contentType, body } =
    replacement ?? (isShown && prefersHtml(req) ? pageOf(refusal) : problemDetailsOf(refusal));
  const lines = ["Content-Type", contentType, "Cache-Control", "no-store"];
  for (const [name, value] of Object.entries(refusal.headers ?? NONE)) {
    if (name !== "WWW-Authenticate") lines.push(name, value);
  }
  const challenge = runtime.resources.challenge(req, refusal.headers?.["WWW-Authenticate"]);
  if (challenge !== undefined) lines.push("WWW-Authenticate", challenge);
  lines.push("Content-Length", String(Buffer.byteLength(body)));
  send(res, headers, REFUSALS[refusal.code].status, lines, body);
}

const NONE: Readonly<Record<string, string>> = Object.freeze({});

function pageOf(refusal: Refusal): ReplacedBody {
  return { contentType: "text/html; charset=utf-8", body: refusalPage(problemOf(refusal)) };
}

function problemDetailsOf(refusal: Refusal): ReplacedBody {
  const isPlain = refusal.detail === undefined && refusal.members === undefined;
  const ready = isPlain ? READY_BODIES.get(refusal.code) : undefined;
  return {
    contentType: "application/problem+json; charset=utf-8",
    body: ready ?? JSON.stringify(problemOf(refusal)),
  };
}

function announce(req: Request, runtime: Runtime, source: string, refusal: Refusal, mode: "enforce" | "report"): void {
  const kind: RefusalKind = REFUSALS[refusal.code];
  if (refusal.event === false) return;
  const level = refusal.event === undefined && kind.level !== undefined ? { level: kind.level } : {};
  runtime.events.emit(refusal.event ?? kind.event, () => ({
    ...level,
    source,
    reason: refusal.reason,
    mode,
    code: refusal.code,
    status: kind.status,
    ...requestContext(req),
    ...(refusal.subject === undefined ? {} : { subject: refusal.subject }),
    ...(refusal.credentialId === undefined ? {} : { credentialId: refusal.credentialId }),
  }));
}
