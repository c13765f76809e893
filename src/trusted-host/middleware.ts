import type { NextFunction, Request, Response } from "express";
import type { Middleware } from "../core/middleware.js";
import { hostLines, isFromTrustedProxy } from "../core/http/authority.js";
import type { Layer, RunLayer } from "../core/layer.js";
import type { MaybePromise } from "../core/maybe-promise.js";
import { standalone } from "../core/pipeline.js";
import type { Refusal } from "../core/response/problem.js";
import { refuse } from "../core/response/refuse.js";
import type { RequestState } from "../core/request-state.js";
import { type PartDependencies, partRuntime } from "../core/runtime.js";
import { type Trust, TrustCheck, UNANSWERED } from "../core/trust-check.js";
import { parseFactory } from "../settings/object.js";
import { decideHost, type HostPolicy, type OpenDecision } from "./decide.js";
import { HostPatterns } from "./host-patterns.js";
import { trustedHostSchema, type ResolvedTrustedHostSettings, type TrustedHostSettings } from "./settings.js";

/** The layer: refuses requests for hosts that are not this service's. README.md has the rules. */
export function createTrustedHost(options: ResolvedTrustedHostSettings): Layer {
  const { hosts, mode, forwardedHost } = options;
  const exemptPaths = new Set(options.exemptPaths);
  const [policy, check]: [HostPolicy, TrustCheck | undefined] =
    typeof hosts === "function"
      ? [{ hosts: undefined, exemptPaths }, new TrustCheck(hosts, "trusted-host", "trustedHosts.hosts")]
      : [{ hosts: new HostPatterns(hosts), exemptPaths }, undefined];

  const run: RunLayer = function trustedHostMiddleware(req, res, next, state) {
    const forwarded = readForwarded(req, forwardedHost);
    // Remove an untrusted X-Forwarded-Host, so that Express's `req.hostname` ignores it too.
    if (forwarded === undefined && mode === "enforce" && req.headers["x-forwarded-host"] !== undefined)
      delete req.headers["x-forwarded-host"];
    const decision = decideHost(policy, {
      method: req.method,
      target: req.originalUrl,
      hostLines: hostLines(req),
      forwarded,
    });
    if (decision === undefined) return next();
    if (check !== undefined && "hosts" in decision) return ask(check, decision, req, res, next, state);
    refuseOrNext("hosts" in decision ? decision.otherwise : decision, req, res, next);
  };

  function refuseOrNext(refusal: Refusal, req: Request, res: Response, next: NextFunction): void {
    if (!refuse(req, res, "trusted-host", refusal, mode)) next();
  }

  function ask(
    by: TrustCheck,
    { hosts: named, otherwise }: OpenDecision,
    req: Request,
    res: Response,
    next: NextFunction,
    state: RequestState,
  ): void {
    const goOn = (trust: Trust): void => {
      if (trust === true) next();
      else refuseOrNext(trust === false ? otherwise : UNANSWERED, req, res, next);
    };
    const trust = askAll(named, (host) => by.ask(host, req, state));
    if (trust instanceof Promise) trust.then(goOn).catch(next);
    else goOn(trust);
  }

  return {
    id: "trusted-host",
    mode,
    run,
    describe: () => ({
      ...options,
      hosts: typeof hosts === "function" ? "function" : [...hosts],
      exemptPaths: [...options.exemptPaths],
    }),
  };
}

/** Whether all of the hosts are trusted. */
function askAll(hosts: readonly string[], ask: (host: string) => MaybePromise<Trust>): MaybePromise<Trust> {
  const together = (answers: readonly Trust[]): Trust =>
    answers.includes(false) ? false : answers.includes(undefined) ? undefined : true;
  const answers = hosts.map(ask);
  const isReady = answers.every((answer): answer is Trust => !(answer instanceof Promise));
  return isReady ? together(answers) : Promise.all(answers.map(async (answer) => answer)).then(together);
}

/** X-Forwarded-Host, when it is trusted: the settings allow it and the peer is a trusted proxy. */
function readForwarded(req: Request, isTrusted: boolean): string | undefined {
  if (!isTrusted) return undefined;
  const value = req.headers["x-forwarded-host"];
  if (value === undefined || !isFromTrustedProxy(req)) return undefined;
  return typeof value === "string" ? value : value.join(",");
}

/**
 * Serves only the hosts of this service: 400 `untrusted-host` for every other Host (RFC 9112 section 3.2, RFC 9110
 * section 7.2). This prevents DNS rebinding and links built from a forged Host.
 *
 * @param settings the list of hosts, a function that decides about a host, or an object with `hosts`
 * @param deps `{ events?, clock?, onRefusal? }`, so that the part can be observed and tested
 * @throws SettingsError when no hosts are given or an entry is not a host
 *
 * @example
 * ```ts
 * import express from "express";
 * import { trustedHost } from "portcullis";
 *
 * const app = express();
 * app.use(trustedHost({ hosts: ["api.example.com", "*.example.net"], exemptPaths: ["/health"] }));
 * ```
 */
export function trustedHost(settings?: TrustedHostSettings, deps?: PartDependencies): Middleware {
  return standalone(
    [createTrustedHost(parseFactory("trustedHost", trustedHostSchema, settings ?? {}))],
    partRuntime(deps),
  );
}
