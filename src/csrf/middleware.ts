import type { Middleware } from "../core/middleware.js";
import { headerLines, pathOf } from "../core/http/authority.js";
import { effectiveHost, forwardedPort } from "../core/http/effective-host.js";
import type { Layer, RunLayer } from "../core/layer.js";
import { OriginPatterns } from "../core/http/origin.js";
import { standalone } from "../core/pipeline.js";
import { refuse } from "../core/response/refuse.js";
import { type PartDependencies, partRuntime } from "../core/runtime.js";
import { parseFactory } from "../settings/object.js";
import { type CsrfPolicy, decideCsrf, isSafeMethod } from "./decide.js";
import { csrfSchema, type ResolvedCsrfSettings, type CsrfSettings } from "./settings.js";

/** What this layer needs to know about the other protections. */
export interface CsrfDependencies {
  /**
   * The origins that CORS allows; they are trusted here too. `"*"` lets every origin read what needs no credentials;
   * that does not make them trusted.
   */
  readonly corsOrigins?: readonly string[] | "*";
}

/** The layer: refuses unsafe requests that another site made a browser send. README.md has the rules. */
export function createCsrf(options: ResolvedCsrfSettings, dependencies: CsrfDependencies = {}): Layer {
  const { mode, sameSite, unmarked } = options;
  const { corsOrigins = [] } = dependencies;
  const trusted = [...(corsOrigins === "*" ? [] : corsOrigins), ...options.trustedOrigins];
  const policy: CsrfPolicy = { trusted: new OriginPatterns(trusted), sameSite, unmarked };
  const exemptPaths = new Set(options.exemptPaths);

  const run: RunLayer = function csrfMiddleware(req, res, next) {
    if (isSafeMethod(req.method) || (exemptPaths.size > 0 && exemptPaths.has(pathOf(req) ?? ""))) return next();
    const refusal = decideCsrf(policy, {
      site: headerLines(req, "sec-fetch-site"),
      origin: headerLines(req, "origin"),
      host: effectiveHost(req),
      forwardedPort: forwardedPort(req),
      secure: req.secure,
    });
    if (refusal !== undefined && refuse(req, res, "csrf", refusal, mode)) return;
    next();
  };

  return {
    id: "csrf",
    mode,
    run,
    describe: () => ({ ...options, trustedOrigins: trusted, exemptPaths: [...options.exemptPaths] }),
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
