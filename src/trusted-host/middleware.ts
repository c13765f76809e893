import type { Request } from "express";
import type { Middleware } from "../core/middleware.js";
import { hostLines, isFromTrustedProxy } from "../core/http/authority.js";
import type { Layer, RunLayer } from "../core/layer.js";
import { standalone } from "../core/pipeline.js";
import { refuse } from "../core/response/refuse.js";
import { type PartDependencies, partRuntime } from "../core/runtime.js";
import { parseFactory } from "../settings/object.js";
import { decideHost, type HostPolicy } from "./decide.js";
import { HostPatterns } from "./host-patterns.js";
import { trustedHostSchema, type ResolvedTrustedHostSettings, type TrustedHostSettings } from "./settings.js";

/** The layer: refuses requests for hosts that are not this service's. README.md has the rules. */
export function createTrustedHost(options: ResolvedTrustedHostSettings): Layer {
  const { mode, forwardedHost } = options;
  const policy: HostPolicy = { hosts: new HostPatterns(options.hosts), exemptPaths: new Set(options.exemptPaths) };

  const run: RunLayer = function trustedHostMiddleware(req, res, next) {
    const forwarded = readForwarded(req, forwardedHost);
    // Remove an untrusted X-Forwarded-Host, so that Express's `req.hostname` ignores it too.
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
 * @param settings the list of hosts, or an object with `hosts`
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
