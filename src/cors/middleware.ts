import type { NextFunction, Request, RequestHandler, Response } from "express";
import type { SecurityEventName } from "../core/events.js";
import type { Layer } from "../core/layer.js";
import { refuse, type Refusal, requestFacts } from "../core/refusal.js";
import { beginState, stateOf } from "../core/request-state.js";
import { createRuntime, type Runtime } from "../core/runtime.js";
import { parse } from "../settings/object.js";
import { compileCors, type Field } from "./compile.js";
import { type CorsInput, type CorsVerdict, decide, isOriginReason } from "./decide.js";
import { corsSchema, type CorsOptions, type CorsSettings } from "./settings.js";
import { effectiveHost } from "../core/effective-host.js";

/** The event is always one of ours here. */
type CorsRefusal = Refusal & { readonly event: SecurityEventName };
type Refused = Extract<CorsVerdict, { kind: "refused" | "preflight-refused" }>;

const TOO_MUCH = "The origin is trusted here, but not for this method or these headers.";
const PREFLIGHT_VARY = "Access-Control-Request-Method, Access-Control-Request-Headers";

/** The CORS layer. Headers are set before the layers after it run, so that their refusals can be read by the page. */
export function createCors(options: CorsOptions, runtime: Runtime): Layer {
  const { rules, preflight, actual, preflightStatus, preflightLength } = compileCors(options);
  const anyOrigin = rules.origins === "*";
  const preflightVary = PREFLIGHT_VARY + (options.privateNetwork ? ", Access-Control-Request-Private-Network" : "");

  function allow(res: Response, origin: string, fields: readonly Field[]): void {
    res.setHeader("Access-Control-Allow-Origin", anyOrigin ? "*" : origin);
    for (const [name, value] of fields) res.setHeader(name, value);
  }

  function endPreflight(res: Response): void {
    res.statusCode = preflightStatus;
    // Safari waits for a body without it.
    res.setHeader("Content-Length", preflightLength);
    res.end();
  }

  /** @returns true when the request has been answered */
  function turnAway(req: Request, res: Response, verdict: Refused): boolean {
    const { reason } = verdict;
    // malicious_cors is the vocabulary's name for an unauthorised origin; a listed one that asks for too much is a mistake.
    const refusal: CorsRefusal = isOriginReason(reason)
      ? { code: "cross-origin-refused", reason, event: "malicious_cors" }
      : { code: "cross-origin-refused", reason, event: "input_validation_fail", detail: TOO_MUCH };
    if (options.refused === "reject") return refuse(req, res, "cors", refusal, options.mode);
    stateOf(req).runtime.events.emit(refusal.event, () => ({ source: "cors", reason, mode: options.mode, ...requestFacts(req) }));
    if (verdict.kind === "refused" || options.mode === "report") return false;
    // No Access-Control header, so the browser gives up; the app is spared an OPTIONS it did not ask for.
    endPreflight(res);
    return true;
  }

  function corsMiddleware(req: Request, res: Response, next: NextFunction): void {
    beginState(req, runtime).markRan("cors");
    if (!anyOrigin) addVary(res, "Origin");
    const { origin } = req.headers;
    if (origin === undefined) {
      // The answer is the same for everybody, so it must be so in a cache filled without Origin (Fetch section 3.2.6).
      if (anyOrigin) allow(res, "*", actual);
      next();
      return;
    }
    const verdict = decide(rules, inputOf(req, origin));
    switch (verdict.kind) {
      case "not-cors":
        break;
      case "allowed":
        allow(res, origin, actual);
        break;
      case "refused":
        if (turnAway(req, res, verdict)) return;
        break;
      case "preflight-allowed":
        addVary(res, preflightVary);
        allow(res, origin, preflight);
        if (verdict.privateNetwork) res.setHeader("Access-Control-Allow-Private-Network", "true");
        endPreflight(res);
        return;
      case "preflight-refused":
        addVary(res, preflightVary);
        if (turnAway(req, res, verdict)) return;
        break;
    }
    next();
  }

  return { id: "cors", mode: options.mode, handler: corsMiddleware, describe: () => structuredClone(options) };
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
    secure: req.protocol === "https",
  };
}

/** Node joins repeated fields of these names by ", ", so that a list of several values never equals one of them. */
function field(req: Request, name: string): string | undefined {
  const value = req.headers[name];
  return typeof value === "string" ? value : value?.join(", ");
}

/** Adds to Vary without losing what is there. */
function addVary(res: Response, names: string): void {
  if (res.hasHeader("Vary")) res.vary(names);
  else res.setHeader("Vary", names);
}

/**
 * CORS alone, as Express middleware (Fetch section 3.2). Mount it before anything that answers.
 *
 * @param settings `origins` is required; `maxAge` is in seconds
 * @throws SettingsError listing everything wrong with the settings
 */
export function corsPolicy(settings: CorsSettings): RequestHandler {
  return createCors(parse(corsSchema, settings ?? {}), createRuntime()).handler;
}
