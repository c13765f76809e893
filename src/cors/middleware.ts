import type { NextFunction, Request, Response } from "express";
import type { Middleware } from "../core/middleware.js";
import type { SecurityEventName } from "../core/events.js";
import type { Layer, RunLayer } from "../core/layer.js";
import { standalone } from "../core/pipeline.js";
import { refuse } from "../core/response/refuse.js";
import type { Refusal } from "../core/response/problem.js";
import { requestContext } from "../core/request-events.js";
import { type RequestState, stateOf } from "../core/request-state.js";
import type { HeaderBuffer } from "../core/response/header-buffer.js";
import { send } from "../core/response/send.js";
import { type PartDependencies, partRuntime } from "../core/runtime.js";
import { parseFactory } from "../settings/object.js";
import { compileCors, type Field, originCheckOf, type RateLimitForm } from "./compile.js";
import { type CorsInput, type CorsVerdict, decide, decideTrusted, isOriginReason, refused } from "./decide.js";
import { corsSchema, type ResolvedCorsSettings, type CorsSettings } from "./settings.js";
import { effectiveHost, forwardedPort } from "../core/http/effective-host.js";
import type { OriginCheck } from "../core/http/origin-check.js";
import { type Trust, UNANSWERED } from "../core/trust-check.js";

/** The event is always one of this library's events here. */
type CorsRefusal = Refusal & { readonly event: SecurityEventName };
type Refused = Extract<CorsVerdict, { kind: "refused" | "preflight-refused" }>;

const TOO_MUCH = "The origin is trusted, but not for this method or these headers.";
const PREFLIGHT_VARY = "Access-Control-Request-Method, Access-Control-Request-Headers";

/** What this layer shares with others. */
export interface CorsDependencies {
  /** Asks the function in `origins`. Default: one of its own. */
  readonly originCheck?: OriginCheck | undefined;
  /** The form of the limiter's headers, which a page should be able to read. */
  readonly rateLimitHeaders?: RateLimitForm;
}

/** The headers of a response that is not to a preflight. A later policy of the same request removes them again. */
const WRITTEN = ["Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers"];

/** Whether other code has allowed something on this response. No other CORS header has an effect without one of them. */
function hasOthers(res: Response): boolean {
  return res.hasHeader("Access-Control-Allow-Origin") || res.hasHeader("Access-Control-Allow-Credentials");
}

/** Removes what the package cors, or code of the app, has set before: this policy alone decides. */
function removeOthers(res: Response): void {
  for (const name of res.getHeaderNames()) if (name.startsWith("access-control-")) res.removeHeader(name);
}

/** The CORS layer. It sets the headers before later layers run, so that the page can read their refusals. */
export function createCors(
  options: ResolvedCorsSettings,
  { rateLimitHeaders, originCheck = originCheckOf(options) }: CorsDependencies = {},
): Layer {
  const { rules, exposedHeaders, preflight, actual, preflightStatus, preflightLength } = compileCors(
    options,
    rateLimitHeaders,
  );
  const anyOrigin = rules.origins === "*";
  const isAlone = options.mode === "enforce";
  const preflightVary = PREFLIGHT_VARY + (options.privateNetwork ? ", Access-Control-Request-Private-Network" : "");

  function allow(headers: HeaderBuffer, origin: string, fields: readonly Field[]): void {
    headers.set("Access-Control-Allow-Origin", anyOrigin ? "*" : origin);
    for (const [name, value] of fields) headers.set(name, value);
  }

  function endPreflight(req: Request, res: Response): void {
    // Safari waits for a body without Content-Length.
    send(res, stateOf(req).headersOf(res), preflightStatus, ["Content-Length", preflightLength], undefined);
  }

  /** @returns true when the request has been answered */
  function refuseOrigin(req: Request, res: Response, verdict: Refused): boolean {
    const { reason } = verdict;
    if (reason === "no-answer") {
      if (options.refused === "reject") return refuse(req, res, "cors", UNANSWERED, options.mode);
      return leaveOut(req, res, verdict);
    }
    // malicious_cors is the vocabulary's name for an unauthorised origin; a listed origin that asks for too much is a
    // mistake.
    const refusal: CorsRefusal = isOriginReason(reason)
      ? { code: "cross-origin-refused", reason, event: "malicious_cors" }
      : { code: "cross-origin-refused", reason, event: "input_validation_fail", detail: TOO_MUCH };
    if (options.refused === "reject") return refuse(req, res, "cors", refusal, options.mode);
    const state = stateOf(req);
    const { events } = state.runtime;
    if (state.isFirstReport(events, `cors ${reason}`))
      events.emit(refusal.event, () => ({ source: "cors", reason, mode: options.mode, ...requestContext(req) }));
    return leaveOut(req, res, verdict);
  }

  /** Refuses by leaving out the headers. @returns true when the request has been answered */
  function leaveOut(req: Request, res: Response, verdict: Refused): boolean {
    if (verdict.kind === "refused" || options.mode === "report") return false;
    // No Access-Control header, so the browser gives up, and the app does not get an unexpected OPTIONS.
    endPreflight(req, res);
    return true;
  }

  const run: RunLayer = function corsPolicyMiddleware(req, res, next, state) {
    const headers = state.headersOf(res);
    // The policy nearest to the route decides. Vary stays: the earlier policy's response may already depend on Origin.
    for (const name of WRITTEN) headers.remove(name);
    if (isAlone && hasOthers(res)) removeOthers(res);
    if (!anyOrigin) headers.vary("Origin");
    const { origin } = req.headers;
    if (origin === undefined) {
      // Needed without Origin too: a cache may serve this response to any origin (Fetch section 3.2.6).
      if (anyOrigin) allow(headers, "*", actual);
      next();
      return;
    }
    const input = inputOf(req, origin);
    const verdict = decide(rules, input);
    if (originCheck === undefined || verdict.reason !== "unlisted-origin")
      return apply(req, res, next, headers, origin, verdict);
    ask(originCheck, req, res, next, state, headers, input, origin);
  };

  function ask(
    check: OriginCheck,
    req: Request,
    res: Response,
    next: NextFunction,
    state: RequestState,
    headers: HeaderBuffer,
    input: CorsInput,
    origin: string,
  ): void {
    const goOn = (trust: Trust): void => {
      // Something else, such as a time-out, may have answered meanwhile.
      if (res.headersSent) return;
      const verdict =
        trust === true
          ? decideTrusted(rules, input)
          : refused(input, trust === false ? "unlisted-origin" : "no-answer");
      apply(req, res, next, headers, origin, verdict);
    };
    const trust = check.ask(origin, req, state);
    if (trust instanceof Promise) trust.then(goOn).catch(next);
    else goOn(trust);
  }

  function apply(
    req: Request,
    res: Response,
    next: NextFunction,
    headers: HeaderBuffer,
    origin: string,
    verdict: CorsVerdict,
  ): void {
    switch (verdict.kind) {
      case "not-cors":
        break;
      case "allowed":
        allow(headers, origin, actual);
        break;
      case "refused":
        if (refuseOrigin(req, res, verdict)) return;
        break;
      case "preflight-allowed":
        headers.vary(preflightVary);
        allow(headers, origin, preflight);
        if (verdict.method !== undefined) headers.set("Access-Control-Allow-Methods", verdict.method);
        if (verdict.headers !== undefined) headers.set("Access-Control-Allow-Headers", verdict.headers);
        if (verdict.privateNetwork) headers.set("Access-Control-Allow-Private-Network", "true");
        endPreflight(req, res);
        return;
      case "preflight-refused":
        headers.vary(preflightVary);
        if (refuseOrigin(req, res, verdict)) return;
        break;
    }
    next();
  }

  return {
    id: "cors",
    mode: options.mode,
    run,
    describe: () => {
      const origins = typeof options.origins === "function" ? "function" : options.origins;
      return structuredClone({ ...options, origins, exposedHeaders });
    },
  };
}

function inputOf(req: Request, origin: string): CorsInput {
  return {
    method: req.method,
    origin,
    requestedMethod: field(req, "access-control-request-method"),
    requestedHeaders: field(req, "access-control-request-headers"),
    requestedPrivateNetwork: field(req, "access-control-request-private-network"),
    fetchSite: field(req, "sec-fetch-site"),
    host: effectiveHost(req),
    forwardedPort: forwardedPort(req),
    secure: req.protocol === "https",
  };
}

/** Node joins repeated fields of these names by ", ", so several values joined never equal a single one. */
function field(req: Request, name: string): string | undefined {
  const value = req.headers[name];
  return typeof value === "string" ? value : value?.join(", ");
}

/**
 * CORS alone, as Express middleware (Fetch section 3.2). Mount it before any handler that responds.
 *
 * @param settings `origins` is required; `maxAge` is in seconds
 * @param deps `{ events?, clock?, onRefusal? }`, so that the part can be observed and tested
 * @throws SettingsError listing everything wrong with the settings
 *
 * @example
 * ```ts
 * import express from "express";
 * import { corsPolicy } from "portcullis";
 *
 * const app = express();
 * app.use(corsPolicy({ origins: ["https://app.example.com"], credentials: true }));
 * ```
 */
export function corsPolicy(settings: CorsSettings, deps?: PartDependencies): Middleware {
  return standalone([createCors(parseFactory("corsPolicy", corsSchema, settings ?? {}))], partRuntime(deps));
}
