import type { Request, Response } from "express";
import type { Middleware } from "../core/middleware.js";
import { setPrincipal } from "../core/request-events.js";
import { challenge, readAuthorization } from "../core/http/authorization.js";
import type { Layer, Mode, RunLayer } from "../core/layer.js";
import { standalone } from "../core/pipeline.js";
import { createPrincipal, type Principal } from "../core/principal.js";
import { refuse } from "../core/response/refuse.js";
import { type Refusal, RETRY_SOON } from "../core/response/problem.js";
import type { RequestState } from "../core/request-state.js";
import { type PartDependencies, partRuntime, type Runtime } from "../core/runtime.js";
import { noteTokenEnd } from "../core/token-expiry.js";
import { SetupError } from "../core/setup-error.js";
import { parseFactory } from "../settings/object.js";
import type { AccessVerdict } from "./access/token-source.js";
import { authenticationOf } from "./authentication.js";
import { type AccessTokenClaims, choosePresented, scopesOf } from "./decide.js";
import { isUnavailable } from "./errors.js";
import type { JwtManager } from "./manager.js";
import { jwtAuthSchema, type JwtAuthSettings } from "./settings.js";

/** The settings that the layer reads; the manager reads the others. */
export interface JwtLayerSettings {
  readonly mode: Mode;
  readonly realm: string;
}

/**
 * The refusals of this layer, built once. The reason goes into the event; the client gets the same response for all.
 */
function refusals(realm: string): {
  invalid(verdict: Extract<AccessVerdict, { ok: false }>): Refusal;
  ambiguous(reason: string): Refusal;
} {
  const invalid = { "WWW-Authenticate": challenge("Bearer", { realm, error: "invalid_token" }) };
  const ambiguous = { "WWW-Authenticate": challenge("Bearer", { realm, error: "invalid_request" }) };
  return {
    invalid({ code, claims, foreign }) {
      // The outage has been announced, once.
      if (isUnavailable(code))
        return {
          code: "store-unavailable",
          reason: code === "keys-unavailable" ? "keys" : "revocation",
          headers: RETRY_SOON,
          event: false,
        };
      const about =
        foreign !== undefined
          ? { credentialId: foreign.credentialId, subject: foreign.id }
          : claims === undefined
            ? {}
            : { credentialId: claims.jti, subject: claims.sub };
      return { code: "invalid-credentials", reason: code, headers: invalid, ...about };
    },
    ambiguous: (reason) => ({ code: "ambiguous-credentials", reason, headers: ambiguous }),
  };
}

/**
 * Builds the layer: it authenticates requests by an access token in `Authorization: Bearer`; requests without one
 * continue.
 */
export function createJwt(
  options: JwtLayerSettings,
  runtime: Runtime,
  { manager }: { readonly manager: JwtManager },
): Layer {
  const { mode } = options;
  const answers = refusals(options.realm);
  // Requests with a cached token share the same frozen claims, and therefore one principal. Other claims occur only
  // once.
  const principals = manager.options.cacheSize > 0 ? new WeakMap<AccessTokenClaims, Principal>() : undefined;

  function principalOf({ claims, foreign }: Extract<AccessVerdict, { ok: true }>): Principal {
    const known = principals?.get(claims);
    if (known !== undefined) return known;
    const made = createPrincipal({
      id: claims.sub,
      kind: "jwt",
      scopes: foreign === undefined ? scopesOf(claims) : [],
      roles: claims.roles ?? [],
      credentialId: claims.jti,
      claims,
      ...authenticationOf(claims),
      ...foreign,
    });
    noteTokenEnd(made, claims.exp * 1000);
    principals?.set(claims, made);
    return made;
  }

  function respond(
    req: Request,
    res: Response,
    next: () => void,
    state: RequestState,
    token: string,
    verdict: AccessVerdict,
  ): void {
    if (!verdict.ok) {
      if (refuse(req, res, "jwt", answers.invalid(verdict), mode)) return;
      return next();
    }
    state.tokenManager = manager;
    runtime.resources.keep(req, manager.verifier, token, verdict);
    setPrincipal(req, state, runtime, "jwt", principalOf(verdict));
    next();
  }

  const run: RunLayer = function jwtMiddleware(req, res, next, state) {
    // The layer is mounted for the app and again for a route, or app.handle returned the request: the token has been
    // verified.
    if (req.principal?.kind === "jwt" && state.tokenManager === manager) return next();
    const authorization = readAuthorization(req);
    if (authorization.kind === "none") return next();
    const choice = choosePresented({
      authorization,
      byApiKey: state.presented === "api-key",
      // A principal of another manager comes from this same header: its token is not a second credential.
      hasPrincipal: req.principal !== undefined && req.principal.kind !== "jwt",
    });
    if (choice.verdict === "none") return next();
    if (choice.verdict === "ambiguous") {
      if (refuse(req, res, "jwt", answers.ambiguous(choice.reason), mode)) return;
      return next();
    }
    state.presented = "jwt";
    const verdict = manager.verifier.check(choice.token, state);
    if (verdict instanceof Promise)
      verdict.then((verified) => respond(req, res, next, state, choice.token, verified)).catch(next);
    else respond(req, res, next, state, choice.token, verdict);
  };

  return {
    id: "jwt",
    mode,
    run,
    describe: () => manager.describe(),
    ready: () => manager.init(),
    close: () => manager.close(),
  };
}

/**
 * Authenticates requests by an access token of `manager` and sets `req.principal`. A request without a token continues:
 * add `requireJwt()` to routes that are not public. Call `manager.init()` before serving when the store is not memory.
 *
 * @param deps `{ events?, clock?, onRefusal? }`; default: those of the manager
 * @throws SettingsError when the settings are wrong
 * @throws SetupError when there is no manager
 *
 * @example
 * ```ts
 * import express from "express";
 * import { jwtAuth, JwtManager, requireJwt } from "portcullis";
 *
 * const tokens = new JwtManager({ secret: process.env.JWT_SECRET });
 * const app = express();
 * app.use(jwtAuth(tokens));
 * app.get("/orders", requireJwt({ scopes: ["orders:read"] }), (req, res) => void res.json([]));
 * ```
 */
export function jwtAuth(manager: JwtManager, settings: JwtAuthSettings = {}, deps?: PartDependencies): Middleware {
  const { mode, realm } = parseFactory("jwtAuth", jwtAuthSchema, settings);
  if (typeof (manager as Partial<JwtManager> | undefined)?.verifyAccessToken !== "function") {
    throw new SetupError("jwtAuth needs a JwtManager as its first argument: jwtAuth(new JwtManager({ secret })).");
  }
  const runtime = partRuntime(deps, manager.runtime);
  const layer = createJwt({ mode: mode ?? manager.options.mode, realm: realm ?? manager.options.realm }, runtime, {
    manager,
  });
  return runtime.resources.carry(standalone([layer], runtime)) as Middleware;
}
