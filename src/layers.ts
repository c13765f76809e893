import type { Request } from "express";
import type { ExpressSessionStore } from "./stores/express-session.js";
import { createApiKey } from "./api-key/middleware.js";
import type { ApiKeyService } from "./api-key/service.js";
import { requestContext } from "./core/request-events.js";
import type { RequestState } from "./core/request-state.js";
import type { Layer } from "./core/layer.js";
import type { LayerId } from "./core/layer-id.js";
import type { Runtime } from "./core/runtime.js";
import type { OriginCheck } from "./core/http/origin-check.js";
import { createCors } from "./cors/middleware.js";
import { createCsrf } from "./csrf/middleware.js";
import { createHeaders } from "./headers/middleware.js";
import { createJwt } from "./jwt/middleware.js";
import type { JwtManager } from "./jwt/manager.js";
import type { LimitDirectory } from "./rate-limit/directory.js";
import { createPrincipalRateLimit, createRateLimit } from "./rate-limit/middleware.js";
import { createSession } from "./session/middleware.js";
import type { ResolvedSecuritySettings } from "./app-settings/schema.js";
import type { RateLimitStore } from "./stores/contracts.js";
import type { SessionCutOffs } from "./stores/revocations/session-cut-offs.js";
import { createTrustedHost } from "./trusted-host/middleware.js";

/** What a layer can be created from. */
export interface LayerSources {
  readonly settings: ResolvedSecuritySettings;
  readonly runtime: Runtime;
  readonly limitStore: RateLimitStore;
  /** Where limits can be found by their names. */
  readonly limits?: LimitDirectory | undefined;
  /** `undefined`: sessions are kept in the memory of this process. */
  readonly sessionStore: ExpressSessionStore | undefined;
  /** `undefined`: the cut-offs of sessions are those of this process. */
  readonly sessionCutOffs?: SessionCutOffs | undefined;
  readonly apiKeys: ApiKeyService | undefined;
  readonly jwt: JwtManager | undefined;
  /** Asks the function in `cors.origins`, where there is one. */
  readonly originCheck: OriginCheck | undefined;
}

interface LayerRow {
  readonly id: LayerId;
  readonly order: number;
  /** Creates the layer, unless the settings turn it off. */
  create(sources: LayerSources): Layer | undefined;
}

/**
 * The table of layers. The order is data. Headers come first, so that every refusal carries them. CORS comes before
 * the limiter, so that a browser can read a 429 and a preflight costs nothing. The limit by address comes before
 * costly work, the limit by principal after all layers that authenticate one. With limits in Redis, cheap checks (a
 * signature, a cached key) run while the first limit waits for the second, so that one round trip asks for both. The
 * numbers are spaced so that a layer can be inserted.
 */
export const LAYERS: readonly LayerRow[] = Object.freeze([
  { id: "context", order: 100, create: ({ runtime }) => createContext(runtime) },
  {
    id: "headers",
    order: 200,
    create: ({ settings, runtime }) => settings.headers && createHeaders(settings.headers, runtime),
  },
  {
    id: "trusted-host",
    order: 300,
    create: ({ settings }) => settings.trustedHosts && createTrustedHost(settings.trustedHosts),
  },
  {
    id: "cors",
    order: 400,
    create: ({ settings, originCheck }) =>
      settings.cors &&
      createCors(settings.cors, {
        rateLimitHeaders: settings.rateLimit ? settings.rateLimit.headers : undefined,
        originCheck,
      }),
  },
  {
    id: "rate-limit",
    order: 500,
    create: ({ settings: { rateLimit, apiKeys }, runtime, limitStore, limits }) =>
      rateLimit &&
      createRateLimit(rateLimit, runtime, {
        store: limitStore,
        directory: limits,
        joined: rateLimit.perPrincipal !== undefined || apiKeys !== false,
      }),
  },
  {
    id: "csrf",
    order: 600,
    create: ({ settings, originCheck }) =>
      settings.csrf && createCsrf(settings.csrf, { corsOrigins: originCheck ?? listedOrigins(settings.cors) }),
  },
  {
    id: "session",
    order: 700,
    create: ({ settings: { session, secretKey, rateLimit }, runtime, sessionStore, sessionCutOffs }) =>
      session &&
      createSession(session, runtime, {
        secretKey,
        store: sessionStore,
        cutOffs: sessionCutOffs,
        isBeforeLimits: rateLimit !== false && rateLimit.perPrincipal !== undefined,
      }),
  },
  {
    id: "api-key",
    order: 800,
    create: ({ settings, runtime, apiKeys }) =>
      settings.apiKeys && apiKeys && createApiKey(settings.apiKeys, runtime, { service: apiKeys }),
  },
  {
    id: "jwt",
    order: 900,
    create: ({ settings, runtime, jwt }) => settings.jwt && jwt && createJwt(settings.jwt, runtime, { manager: jwt }),
  },
  {
    id: "principal-rate-limit",
    order: 1000,
    create: ({ settings, runtime, limitStore, limits }) =>
      settings.rateLimit &&
      createPrincipalRateLimit(settings.rateLimit, runtime, { store: limitStore, directory: limits }),
  },
] satisfies { id: LayerId; order: number; create(sources: LayerSources): Layer | false | undefined }[] as LayerRow[]);

function listedOrigins(cors: ResolvedSecuritySettings["cors"]): readonly string[] | "*" {
  return cors === false || typeof cors.origins === "function" ? [] : cors.origins;
}

/**
 * Buffers the headers of the layers until all of them have accepted the request, so that a refusal is sent in one
 * call.
 */
function createContext(runtime: Runtime): Layer {
  const watchAddress = otherAddressWatch();
  return {
    id: "context",
    mode: "enforce",
    run: function contextLayer(req, res, next, state) {
      watchAddress(req, state);
      state.holdHeaders(res);
      next();
    },
    describe: () => ({ debug: runtime.debug }),
  };
}

/**
 * Warns once when a secured app to which another app forwards its requests computes a different client address than
 * the outer app. Express passes the outer app's `trust proxy` only to an app that `app.use` mounts.
 */
function otherAddressWatch(): (req: Request, state: RequestState) => void {
  let hasWarned = false;
  return (req, state) => {
    if (hasWarned || (req.app as { parent?: unknown }).parent !== undefined || !state.isAddressedOtherwise(req)) return;
    hasWarned = true;
    process.emitWarning(
      "A secured app inside another one sees a different client address in req.ip. Set trustProxy in the inner app too, or mount the inner app with app.use.",
      { code: "PORTCULLIS_TRUST_PROXY" },
    );
    state.runtime.events.emit("portcullis_untrusted_proxy", () => ({
      source: "pipeline",
      reason: "inner-app-without-trust-proxy",
      ...requestContext(req),
    }));
  };
}
