import type { Request } from "express";
import type session from "express-session";
import { createApiKey } from "./api-key/middleware.js";
import type { ApiKeyService } from "./api-key/service.js";
import { requestContext } from "./core/request-events.js";
import type { RequestState } from "./core/request-state.js";
import type { Layer } from "./core/layer.js";
import type { LayerId } from "./core/layer-id.js";
import type { Runtime } from "./core/runtime.js";
import { createCors } from "./cors/middleware.js";
import { createCsrf } from "./csrf/middleware.js";
import { createHeaders } from "./headers/middleware.js";
import { createJwt } from "./jwt/middleware.js";
import type { JwtManager } from "./jwt/manager.js";
import { createPrincipalRateLimit, createRateLimit } from "./rate-limit/middleware.js";
import { createSession } from "./session/middleware.js";
import type { ResolvedSecuritySettings } from "./app-settings/schema.js";
import type { RateLimitStore } from "./stores/contracts.js";
import { createTrustedHost } from "./trusted-host/middleware.js";

/** What a layer may be built from. */
export interface LayerSources {
  readonly settings: ResolvedSecuritySettings;
  readonly runtime: Runtime;
  readonly limitStore: RateLimitStore;
  /** Absent: in this process's memory. */
  readonly sessionStore: session.Store | undefined;
  readonly apiKeys: ApiKeyService | undefined;
  readonly jwt: JwtManager | undefined;
}

interface LayerRow {
  readonly id: LayerId;
  readonly order: number;
  /** The layer, or `undefined` when the settings leave it off. */
  create(sources: LayerSources): Layer | undefined;
}

/**
 * The one table of layers. The order is data: headers first, so that every refusal carries them; CORS before the
 * limiter, so that a browser can read a 429 and a preflight costs nothing; the limit by address before anything costly; the
 * limit by principal after all that prove one. With limits in Redis, cheap proofs (a signature, a remembered key) are looked
 * at while the first waits for the second, so that one round trip asks for both. Numbers are spaced so that one can come between.
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
    create: ({ settings }) =>
      settings.cors &&
      createCors(settings.cors, { rateLimitHeaders: settings.rateLimit ? settings.rateLimit.headers : undefined }),
  },
  {
    id: "rate-limit",
    order: 500,
    create: ({ settings: { rateLimit, apiKeys }, runtime, limitStore }) =>
      rateLimit &&
      createRateLimit(rateLimit, runtime, {
        store: limitStore,
        joined: rateLimit.perPrincipal !== undefined || apiKeys !== false,
      }),
  },
  {
    id: "csrf",
    order: 600,
    create: ({ settings }) =>
      settings.csrf && createCsrf(settings.csrf, { corsOrigins: settings.cors ? settings.cors.origins : [] }),
  },
  {
    id: "session",
    order: 700,
    create: ({ settings, runtime, sessionStore }) =>
      settings.session &&
      createSession(settings.session, runtime, { secretKey: settings.secretKey, store: sessionStore }),
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
    create: ({ settings, runtime, limitStore }) =>
      settings.rateLimit && createPrincipalRateLimit(settings.rateLimit, runtime, { store: limitStore }),
  },
] satisfies { id: LayerId; order: number; create(sources: LayerSources): Layer | false | undefined }[] as LayerRow[]);

/** Keeps the headers of the layers back until all have let the request pass, so that a refusal is sent in one call. */
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
 * Looks, in a secured app that another one hands its requests to, for a client's address that differs from the outer app's.
 * Express gives `trust proxy` of the outer app only to an app that `app.use` mounts. Said once.
 */
function otherAddressWatch(): (req: Request, state: RequestState) => void {
  let isTold = false;
  return (req, state) => {
    if (isTold || (req.app as { parent?: unknown }).parent !== undefined || !state.isAddressedOtherwise(req)) return;
    isTold = true;
    process.emitWarning(
      "A secured app inside another one reads another client address in req.ip. Set trustProxy in its settings too, or mount it by app.use of the outer app.",
      { code: "PORTCULLIS_TRUST_PROXY" },
    );
    state.runtime.events.emit("portcullis_untrusted_proxy", () => ({
      source: "pipeline",
      reason: "inner-app-without-trust-proxy",
      ...requestContext(req),
    }));
  };
}
