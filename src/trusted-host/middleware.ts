import type { Request, RequestHandler } from "express";
import { hostLines, isFromTrustedProxy } from "../core/http/authority.js";
import type { Layer, RunLayer } from "../core/layer.js";
import { standalone } from "../core/pipeline.js";
import { refuse } from "../core/response/refuse.js";
import { type PartDependencies, partRuntime } from "../core/runtime.js";
import { parse } from "../settings/object.js";
import { decideHost, type HostPolicy } from "./decide.js";
import { HostPatterns } from "./host-patterns.js";
import { trustedHostSchema, type TrustedHostOptions, type TrustedHostSettings } from "./settings.js";

/** The layer: refuses requests for hosts that are not this service's. README.md has the rules. */
export function createTrustedHost(options: TrustedHostOptions): Layer {
  const { mode, forwardedHost } = options;
  const policy: HostPolicy = { hosts: new HostPatterns(options.hosts), exemptPaths: new Set(options.exemptPaths) };

  const run: RunLayer = function trustedHostMiddleware(req, res, next) {
    const forwarded = readForwarded(req, forwardedHost);
    // What this layer does not believe, nobody behind it shall: Express's own `req.hostname` would.
    if (forwarded === undefined && mode === "enforce" && req.headers["x-forwarded-host"] !== undefined)
      delete req.headers["x-forwarded-host"];
    const refusal = decideHost(policy, {
      method: req.method,
      target: req.originalUrl,
      hostLines: hostLines(req),
      forwarded,
    });
    if (refusal !== undefined && refuse(req, res, "trusted-host", refusal, mode)) return;
    next();
  };

  return {
    id: "trusted-host",
    mode,
    run,
    describe: () => ({ ...options, hosts: [...options.hosts], exemptPaths: [...options.exemptPaths] }),
  };
}

/** X-Forwarded-Host, when it is to be believed: the settings say so and the peer is a trusted proxy. */
function readForwarded(req: Request, believed: boolean): string | undefined {
  if (!believed) return undefined;
  const value = req.headers["x-forwarded-host"];
  if (value === undefined || !isFromTrustedProxy(req)) return undefined;
  return typeof value === "string" ? value : value.join(",");
}

/**
 * Answers only for the hosts of this service: 400 `untrusted-host` for every other Host (RFC 9112 section 3.2, RFC 9110
 * section 7.2), against DNS rebinding and links built from a forged Host.
 *
 * @param settings the list of hosts, or an object with `hosts`
 * @param deps `{ events?, clock?, onRefusal? }`, so that the part can be observed and tested
 * @throws SettingsError when no hosts are given or an entry is none
 */
export function trustedHost(settings?: TrustedHostSettings, deps?: PartDependencies): RequestHandler {
  return standalone([createTrustedHost(parse(trustedHostSchema, settings ?? {}))], partRuntime(deps));
}
