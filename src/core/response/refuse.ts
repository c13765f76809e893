import { validateHeaderValue } from "node:http";
import type { Request, Response } from "express";
import { errorOf } from "../error-of.js";
import { mapMaybe, type MaybePromise } from "../maybe-promise.js";
import { requestContext } from "../request-events.js";
import type { RequestState } from "../request-state.js";
import { stateOf } from "../request-state.js";
import type { Runtime } from "../runtime.js";
import { problemOf, type Refusal, type RefusalCode, type RefusalKind, REFUSALS, type ReplacedBody } from "./problem.js";
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
  const replaced = replacedBody(req, runtime, refusal);
  const body = replaced?.body ?? bodyOf(refusal);
  const lines = [
    "Content-Type",
    replaced?.contentType ?? "application/problem+json; charset=utf-8",
    "Cache-Control",
    "no-store",
  ];
  for (const [name, value] of Object.entries(refusal.headers ?? NONE)) {
    if (name !== "WWW-Authenticate") lines.push(name, value);
  }
  const challenge = runtime.resources.challenge(req, refusal.headers?.["WWW-Authenticate"]);
  if (challenge !== undefined) lines.push("WWW-Authenticate", challenge);
  lines.push("Content-Length", String(Buffer.byteLength(body)));
  send(res, state.headersOf(res), REFUSALS[refusal.code].status, lines, body);
}

const NONE: Readonly<Record<string, string>> = Object.freeze({});

function bodyOf(refusal: Refusal): string {
  const ready = refusal.detail === undefined ? READY_BODIES.get(refusal.code) : undefined;
  return ready ?? JSON.stringify(problemOf(refusal));
}

function replacedBody(req: Request, runtime: Runtime, refusal: Refusal): ReplacedBody | undefined {
  if (runtime.onRefusal === undefined) return undefined;
  try {
    return checkedBody(runtime.onRefusal(problemOf(refusal), req));
  } catch (error) {
    warnOfReplacement(error);
    return undefined;
  }
}

/**
 * Checks that the body can be sent, so that sending it does not throw half-way through a response.
 *
 * @throws TypeError when it cannot be sent
 */
function checkedBody(given: unknown): ReplacedBody | undefined {
  if (given === undefined || given === null) return undefined;
  if (given instanceof Promise) given.catch(warnOfReplacement);
  const { contentType, body } = given as Partial<ReplacedBody>;
  if (typeof contentType !== "string" || !(typeof body === "string" || Buffer.isBuffer(body))) {
    throw new TypeError("it must return { contentType: string, body: string or Buffer } or undefined, not a promise");
  }
  validateHeaderValue("Content-Type", contentType);
  return { contentType, body };
}

function warnOfReplacement(error: unknown): void {
  process.emitWarning(
    `onRefusal failed, and the default body was sent: ${error instanceof Error ? error.message : "not an Error"}`,
    {
      code: "PORTCULLIS_ON_REFUSAL",
    },
  );
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
