import type { NextFunction, Request, Response } from "express";
import type { Middleware } from "../core/middleware.js";
import { headerLines, pathOf } from "../core/http/authority.js";
import { effectiveHost, forwardedPort } from "../core/http/effective-host.js";
import type { Layer, RunLayer } from "../core/layer.js";
import { OriginPatterns } from "../core/http/origin.js";
import { OriginCheck } from "../core/http/origin-check.js";
import { standalone } from "../core/pipeline.js";
import type { RequestState } from "../core/request-state.js";
import type { Refusal } from "../core/response/problem.js";
import { refuse } from "../core/response/refuse.js";
import { type PartDependencies, partRuntime } from "../core/runtime.js";
import { parseFactory } from "../settings/object.js";
import { type Trust, UNANSWERED } from "../core/trust-check.js";
import { claimedOrigin, type CsrfPolicy, type CsrfRequest, decideCsrf, isSafeMethod } from "./decide.js";
import { csrfSchema, type ResolvedCsrfSettings, type CsrfSettings } from "./settings.js";

/** What this layer needs to know about the other protections. */
export interface CsrfDependencies {
  /**
   * The origins that CORS allows; they are trusted here too. `"*"` lets every origin read what needs no credentials;
   * that does not make them trusted. An `OriginCheck` asks the app's function, and shares its answer with CORS.
   */
  readonly corsOrigins?: readonly string[] | "*" | OriginCheck;
}

/** The layer: refuses unsafe requests that another site made a browser send. README.md has the rules. */
export function createCsrf(options: ResolvedCsrfSettings, dependencies: CsrfDependencies = {}): Layer {
  const { mode, sameSite, unmarked } = options;
  const { corsOrigins = [] } = dependencies;
  const check = corsOrigins instanceof OriginCheck ? corsOrigins : undefined;
  const listed = corsOrigins === "*" || corsOrigins instanceof OriginCheck ? [] : corsOrigins;
  const trusted = [...listed, ...options.trustedOrigins];
  const policy: CsrfPolicy = { trusted: new OriginPatterns(trusted), sameSite, unmarked };
  const exemptPaths = new Set(options.exemptPaths);

  const run: RunLayer = function csrfMiddleware(req, res, next, state) {
    if (isSafeMethod(req.method) || (exemptPaths.size > 0 && exemptPaths.has(pathOf(req) ?? ""))) return next();
    const request: CsrfRequest = {
      site: headerLines(req, "sec-fetch-site"),
      origin: headerLines(req, "origin"),
      host: effectiveHost(req),
      forwardedPort: forwardedPort(req),
      secure: req.secure,
    };
    const refusal = decideCsrf(policy, request);
    if (refusal === undefined) return next();
    const origin = check && claimedOrigin(request);
    if (check !== undefined && origin !== undefined) return ask(check, origin, refusal, req, res, next, state);
    refuseOrNext(refusal, req, res, next);
  };

  function refuseOrNext(refusal: Refusal, req: Request, res: Response, next: NextFunction): void {
    if (!refuse(req, res, "csrf", refusal, mode)) next();
  }

  /** The app's function may trust the origin of a request that is refused otherwise. */
  function ask(
    by: OriginCheck,
    origin: string,
    refusal: Refusal,
    req: Request,
    res: Response,
    next: NextFunction,
    state: RequestState,
  ): void {
    const goOn = (trust: Trust): void => {
      if (trust === true) next();
      else refuseOrNext(trust === false ? refusal : UNANSWERED, req, res, next);
    };
    const trust = by.ask(origin, req, state);
    if (trust instanceof Promise) trust.then(goOn).catch(next);
    else goOn(trust);
  }

  return {
    id: "csrf",
    mode,
    run,
    describe: () => ({
      ...options,
      trustedOrigins: check === undefined ? trusted : ["function", ...trusted],
      exemptPaths: [...options.exemptPaths],
    }),
  };
}

/**
 * Refuses unsafe requests that another site made a browser send: 403 `cross-origin-refused`. Checks Sec-Fetch-Site,
 * then Origin against Host; needs no token and stores nothing. Programs that send neither field pass, unless `unmarked:
 * "refuse"`.
 *
 * @param deps `{ events?, clock?, onRefusal? }`, so that the part can be observed and tested
 * @throws SettingsError when a trusted origin is not an origin
 *
 * @example
 * ```ts
 * import express from "express";
 * import { csrfProtection } from "portcullis";
 *
 * const app = express();
 * app.use(csrfProtection({ trustedOrigins: ["https://app.example.com"] }));
 * ```
 */
export function csrfProtection(settings?: CsrfSettings, deps?: PartDependencies): Middleware {
  return standalone([createCsrf(parseFactory("csrfProtection", csrfSchema, settings ?? {}))], partRuntime(deps));
}
