import { validateHeaderValue } from "node:http";
import type { Request, Response } from "express";
import { pathOf } from "../http/authority.js";
import type { SecurityEvent, SecurityEventName } from "../events.js";
import { maskCredentials } from "../mask-credentials.js";
import type { RequestState } from "../request-state.js";
import { stateOf } from "../request-state.js";
import { send } from "./send.js";
import type { Runtime } from "../runtime.js";

interface RefusalKind {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly event: SecurityEventName;
  /** The level of the event where it is not that of its name. */
  readonly level?: SecurityEvent["level"];
}

/** Every way a request can be refused: the one table of codes, statuses and sentences. `src/core/README.md` explains each. */
export const REFUSALS = {
  "untrusted-host": {
    status: 400,
    title: "Untrusted host",
    detail: "The Host of this request is not one this service answers for.",
    event: "portcullis_untrusted_host",
  },
  "cross-origin-refused": {
    status: 403,
    title: "Cross-origin request refused",
    detail: "This request came from another origin, and that origin is not trusted here.",
    event: "malicious_csrf",
  },
  "rate-limited": {
    status: 429,
    title: "Too many requests",
    detail: "The limit of requests is used up. Retry after the time given in Retry-After.",
    event: "excess_rate_limit_exceeded",
  },
  "missing-credentials": {
    status: 401,
    title: "Credentials required",
    detail: "This resource needs credentials, and the request carried none.",
    event: "authz_fail",
    // A page that asks who is logged in meets this all day.
    level: "INFO",
  },
  "invalid-credentials": {
    status: 401,
    title: "Invalid credentials",
    detail: "The credentials of this request are not valid.",
    event: "authn_login_fail",
  },
  "ambiguous-credentials": {
    status: 400,
    title: "Ambiguous credentials",
    detail: "This request carried more than one credential. Send exactly one.",
    event: "input_validation_fail",
  },
  "insufficient-scope": {
    status: 403,
    title: "Insufficient scope",
    detail: "The credentials are valid but do not allow this.",
    event: "authz_fail",
  },
  "invalid-request": {
    status: 400,
    title: "Invalid request",
    detail: "The request is not of the form this route takes.",
    event: "input_validation_fail",
  },
  "unsupported-media-type": {
    status: 415,
    title: "Unsupported media type",
    detail: "This route takes a body of type application/json.",
    event: "input_validation_fail",
  },
  "payload-too-large": {
    status: 413,
    title: "Payload too large",
    detail: "The body of this request is larger than this route takes.",
    event: "input_validation_fail",
  },
  "not-found": {
    status: 404,
    title: "Not found",
    detail: "There is no such resource for this caller.",
    event: "authz_fail",
  },
  conflict: {
    status: 409,
    title: "Conflict",
    detail: "The resource is not in a state that allows this.",
    event: "input_validation_fail",
  },
  "store-unavailable": {
    status: 503,
    title: "Temporarily unavailable",
    detail: "A store this request depends on did not answer. Try again shortly.",
    event: "portcullis_store_unavailable",
  },
  "protection-not-run": {
    status: 500,
    title: "Misconfigured protection",
    detail: "A guard on this route depends on a protection that did not run on this request.",
    event: "portcullis_misconfigured",
  },
} as const satisfies Record<string, RefusalKind>;

export type RefusalCode = keyof typeof REFUSALS;

/** A refusal as a value: what a `decide` function returns instead of throwing. Holds nothing of what the caller sent. */
export interface Refusal {
  readonly code: RefusalCode;
  /** Why, in a word fit for a metric label; goes into the event, never to the caller. */
  readonly reason: string;
  /** Replaces the code's own sentence. Must be a constant of ours or built from settings. */
  readonly detail?: string;
  /** Extra response headers: Retry-After, WWW-Authenticate, … */
  readonly headers?: Readonly<Record<string, string>>;
  /** The credential the refusal is about, for the event. */
  readonly credentialId?: string;
  readonly subject?: string;
  /** Replaces the code's event, where a more telling name exists; `false` when the caller announces it itself. */
  readonly event?: SecurityEventName | false;
}

/** The body of a refusal: RFC 9457 with our `code`. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: RefusalCode;
}

/** What an app may put in place of the problem body. Status and headers stay. */
export interface ReplacedBody {
  readonly contentType: string;
  readonly body: string | Buffer;
}

export type OnRefusal = (problem: Problem, req: Request) => ReplacedBody | undefined;

/** RFC 9457 section 3: the body of a refusal. */
export function problemOf(refusal: Pick<Refusal, "code" | "detail">): Problem {
  const { status, title, detail } = REFUSALS[refusal.code];
  const type = `urn:problem-type:portcullis:${refusal.code}`;
  return { type, title, status, detail: refusal.detail ?? detail, code: refusal.code };
}

/** The usual bodies, serialised once: a refusal costs less than a served request. */
const READY_BODIES = new Map<RefusalCode, string>(
  (Object.keys(REFUSALS) as RefusalCode[]).map((code) => [code, JSON.stringify(problemOf({ code }))]),
);

/**
 * The one place where a refusal becomes an event and an answer, both by the layer that has the request at the moment.
 *
 * @param mode "report" announces the event, once for a request, and leaves the response alone
 * @returns true when the request has been, or is being, answered; false when the layer only reports and must let it go on
 */
export function refuse(
  req: Request,
  res: Response,
  source: string,
  refusal: Refusal,
  mode: "enforce" | "report" = "enforce",
): boolean {
  const state = stateOf(req);
  const { limits, runtime } = state;
  // What is refused counts too, and a client over its limit is told that and nothing else.
  if (limits !== undefined && mode === "enforce")
    limits.settle(() => answer(req, res, state, runtime, source, refusal));
  else if (mode === "enforce") answer(req, res, state, runtime, source, refusal);
  else if (state.isNews(runtime.events, `${source} ${refusal.code} ${refusal.reason}`))
    announce(req, runtime, source, refusal, mode);
  return mode === "enforce";
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

/** What cannot be sent must not become an exception half-way through a response. @throws TypeError when it cannot */
function checkedBody(given: unknown): ReplacedBody | undefined {
  if (given === undefined || given === null) return undefined;
  if (given instanceof Promise) given.catch(warnOfReplacement);
  const { contentType, body } = given as Partial<ReplacedBody>;
  if (typeof contentType !== "string" || !(typeof body === "string" || Buffer.isBuffer(body))) {
    throw new TypeError("it must return { contentType: string, body: string or Buffer }, not a promise, or undefined");
  }
  validateHeaderValue("Content-Type", contentType);
  return { contentType, body };
}

function warnOfReplacement(error: unknown): void {
  process.emitWarning(`onRefusal threw: ${error instanceof Error ? error.message : "not an Error"}`, {
    code: "PORTCULLIS_ON_REFUSAL",
  });
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
    ...requestFacts(req),
    ...(refusal.subject === undefined ? {} : { subject: refusal.subject }),
    ...(refusal.credentialId === undefined ? {} : { credentialId: refusal.credentialId }),
  }));
}

/** What an event says about its request: no query string, no credential in the path, nothing that could forge a log line. */
export function requestFacts(req: Request): {
  sourceIp: string;
  method: string;
  path: string;
  subject?: string;
  credentialId?: string;
} {
  const state = stateOf(req);
  // The path alone: an absolute-form target would bring the attacker's host into the log.
  const path = maskCredentials(pathOf(req) ?? "").slice(0, 256);
  const who =
    req.principal === undefined ? {} : { subject: req.principal.id, credentialId: req.principal.credentialId };
  return { sourceIp: state.address(req), method: req.method, path: path.replace(/[^\x21-\x7e]/g, escapeByte), ...who };
}

function escapeByte(char: string): string {
  return `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`;
}
