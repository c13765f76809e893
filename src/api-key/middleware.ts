import type { NextFunction, Request, Response } from "express";
import type { Middleware } from "../core/middleware.js";
import { setPrincipal } from "../core/request-events.js";
import { readAuthorization } from "../core/http/authorization.js";
import type { Layer } from "../core/layer.js";
import { standalone } from "../core/pipeline.js";
import { refuse } from "../core/response/refuse.js";
import type { RequestState } from "../core/request-state.js";
import { type PartDependencies, partRuntime, type Runtime } from "../core/runtime.js";
import type { PendingLimits } from "../core/pending-limits.js";
import { SetupError } from "../core/setup-error.js";
import { parseFactory } from "../settings/object.js";
import { type Choice, choosePresented, type KeyScheme, NO_KEY } from "./decide.js";
import { keyRefusals } from "./refusals.js";
import type { ApiKeyVerification } from "./verification/result.js";
import type { ApiKeyService } from "./service.js";
import type { JoinedLimits } from "./verification/verifier.js";
import { apiKeyAuthSchema, type ApiKeyAuthSettings, type ResolvedApiKeySettings } from "./settings.js";

/** Builds the layer. The creator of the service opens and closes it. */
export function createApiKey(
  options: ResolvedApiKeySettings,
  runtime: Runtime,
  { service }: { readonly service: ApiKeyService },
): Layer {
  const headerName = options.headerName.toLowerCase();
  const { mode } = options;
  const { prefix, formerPrefixes } = service.options;
  const refusals = keyRefusals(options.realm);

  function respond(
    req: Request,
    res: Response,
    next: NextFunction,
    state: RequestState,
    result: ApiKeyVerification,
    { key, scheme }: Extract<Choice, { verdict: "key" }>,
  ): void {
    if (result.ok) {
      state.keyService = service;
      runtime.resources.keep(req, service.verifier, key, result);
      setPrincipal(req, state, runtime, "api-key", result.principal);
      next();
      return;
    }
    if (refuse(req, res, "api-key", refusals.of(result, scheme), mode)) return;
    // In report mode, a valid key that has exceeded its limit still authenticates the request.
    if (result.principal !== undefined) {
      runtime.resources.keep(req, service.verifier, key, result);
      setPrincipal(req, state, runtime, "api-key", result.principal);
    }
    next();
  }

  /** The key that the request presents and this layer is to verify. */
  function presentedIn(req: Request, state: RequestState): Choice {
    // The layer is mounted for the app and again for a route: one request counts as one use of the key.
    if (req.principal?.kind === "api-key" && state.keyService === service) return NO_KEY;
    const keyHeader = req.headers[headerName];
    const authorization = readAuthorization(req);
    if (keyHeader === undefined && authorization.kind === "none") return NO_KEY;
    return choosePresented(
      {
        keyHeader: Array.isArray(keyHeader) ? keyHeader.join() : keyHeader,
        authorization,
        hasSession: req.principal?.kind === "session",
      },
      prefix,
      formerPrefixes,
    );
  }

  /** The pending limits that the key's own limit joins. In report mode it must not stop the others from counting. */
  function joinable({ pendingLimits }: RequestState): PendingLimits | undefined {
    return mode === "enforce" ? pendingLimits : undefined;
  }

  function join(state: RequestState, scheme: KeyScheme): JoinedLimits | undefined {
    const pending = joinable(state);
    if (pending === undefined) return undefined;
    return {
      pending,
      refusalOf: (result) => (result.ok ? undefined : { source: "api-key", refusal: refusals.of(result, scheme) }),
    };
  }

  return {
    id: "api-key",
    mode,
    run: function apiKeyMiddleware(req, res, next, state) {
      const choice = presentedIn(req, state);
      if (choice.verdict === "none") return next();
      if (choice.verdict === "ambiguous") {
        if (!refuse(req, res, "api-key", refusals.ambiguous(choice.reason), mode)) next();
        return;
      }
      state.presented = "api-key";
      state.address(req);
      const result = service.verifier.check(choice.key, state, join(state, choice.scheme));
      // Errors thrown downstream belong to the app's error handling; they must not become unhandled rejections.
      if (result instanceof Promise)
        void result.then((verified) => respond(req, res, next, state, verified, choice)).catch(next);
      else respond(req, res, next, state, result, choice);
    },
    isCostly(req, state) {
      const choice = presentedIn(req, state);
      if (choice.verdict !== "key") return false;
      state.address(req);
      return !service.verifier.isReady(choice.key, state, joinable(state));
    },
    describe: () => describe({ ...options, prefix, formerPrefixes }),
  };
}

/** Returns the effective settings: secrets print as `[secret]`, a store as its class name. */
function describe(options: ResolvedApiKeySettings): Record<string, unknown> {
  const { store, secret, ...plain } = options;
  return {
    ...plain,
    failures: { ...plain.failures },
    store: store === undefined ? "default" : store.constructor.name,
    secret: secret === undefined ? "derived" : secret.map(String),
  };
}

/**
 * Authenticates requests by API key: `X-API-Key`, or `Authorization: Bearer <prefix>…`; never the query (ASVS 14.2.1).
 * Sets `req.principal`. A request without a key continues without a principal; a request with a wrong key is refused.
 *
 * @param service creates and verifies the keys; its settings apply where `settings` has none
 * @param deps `{ events?, clock?, onRefusal? }`; default: those of the service
 * @throws SettingsError when the settings are wrong
 * @throws SetupError when there is no service
 *
 * @example
 * ```ts
 * import express from "express";
 * import { apiKeyAuth, ApiKeyService, requireApiKey } from "portcullis";
 *
 * const keys = new ApiKeyService();
 * const app = express();
 * app.use(apiKeyAuth(keys));
 * app.get("/orders", requireApiKey({ scopes: ["orders:read"] }), (req, res) => void res.json([]));
 * ```
 */
export function apiKeyAuth(service: ApiKeyService, settings?: ApiKeyAuthSettings, deps?: PartDependencies): Middleware {
  const own = parseFactory("apiKeyAuth", apiKeyAuthSchema, settings ?? {});
  if (typeof (service as Partial<ApiKeyService> | undefined)?.verify !== "function") {
    throw new SetupError("apiKeyAuth needs an ApiKeyService as its first argument: apiKeyAuth(new ApiKeyService()).");
  }
  const { mode = service.options.mode, headerName = service.options.headerName, realm = service.options.realm } = own;
  const runtime = partRuntime(deps, service.runtime);
  return runtime.resources.carry(
    standalone([createApiKey({ ...service.options, mode, headerName, realm }, runtime, { service })], runtime),
  ) as Middleware;
}
