import type { Request } from "express";
import { ApiKeyService } from "./api-key/service.js";
import type { ResolvedSecuritySettings } from "./app-settings/schema.js";
import type { Layer } from "./core/layer.js";
import type { LayerId } from "./core/layer-id.js";
import type { Runtime } from "./core/runtime.js";
import { originCheckOf } from "./cors/compile.js";
import { JwtManager } from "./jwt/manager.js";
import { LAYERS } from "./layers.js";
import { LimitDirectory } from "./rate-limit/directory.js";
import { LoginCounters } from "./rate-limit/login-counters.js";
import type { SessionLayer } from "./session/middleware.js";
import { storeSettings } from "./store-settings.js";
import { openStores, type Stores } from "./stores/open.js";

/** A layer that is on, and its place. */
export interface PlacedLayer {
  readonly order: number;
  readonly layer: Layer;
}

/** What `applySecurity` makes of the settings, before it touches the app. */
export interface SecurityParts {
  readonly settings: ResolvedSecuritySettings;
  readonly runtime: Runtime;
  readonly stores: Stores;
  readonly apiKeys: ApiKeyService | undefined;
  readonly jwt: JwtManager | undefined;
  readonly session: SessionLayer | undefined;
  /** Those that are on, in their order. */
  readonly layers: readonly PlacedLayer[];
  readonly limits: LimitDirectory;
  /** The counters of log-ins, made at the first call. */
  loginCounters(): LoginCounters;
  closeLoginCounters(): void;
  /** Whether the session or the token of a request is in force still, in any process. Never rejects. */
  isInForce(req: Request): Promise<boolean>;
  find(id: LayerId): Layer | undefined;
}

/** Opens the stores and makes the services and the layers. */
export function createParts(settings: ResolvedSecuritySettings, runtime: Runtime): SecurityParts {
  const stores = openStores(storeSettings(settings), runtime);
  const { secretKey } = settings;
  const apiKeys = settings.apiKeys
    ? new ApiKeyService(settings.apiKeys, {
        runtime,
        store: settings.apiKeys.store ?? stores.apiKeys,
        secretKey,
        limiter: stores.limits,
        changes: stores.changes,
      })
    : undefined;
  const jwt = settings.jwt
    ? new JwtManager(settings.jwt, { runtime, store: settings.jwt.store ?? stores.tokens, secretKey })
    : undefined;
  const originCheck = settings.cors ? originCheckOf(settings.cors) : undefined;
  const limits = new LimitDirectory(runtime);
  const layers = LAYERS.flatMap((row) => {
    const layer = row.create({
      settings,
      runtime,
      limitStore: stores.limits,
      limits,
      sessionStore: stores.sessions,
      sessionCutOffs: stores.changes,
      apiKeys,
      jwt,
      originCheck,
    });
    return layer ? [{ order: row.order, layer }] : [];
  });
  const find = (id: LayerId): Layer | undefined => layers.find(({ layer }) => layer.id === id)?.layer;
  const session = find("session") as SessionLayer | undefined;

  let counters: LoginCounters | undefined;
  const loginCounters = (): LoginCounters => {
    if (counters !== undefined) return counters;
    counters = new LoginCounters(settings.loginLimits, settings.rateLimit || undefined, stores.limits, runtime);
    for (const listed of counters.listed()) limits.add(listed);
    return counters;
  };
  return {
    settings,
    runtime,
    stores,
    apiKeys,
    jwt,
    session,
    layers,
    limits,
    loginCounters,
    closeLoginCounters: () => counters?.close(),
    async isInForce(req) {
      const { principal } = req;
      if (principal?.kind === "session" && session !== undefined) return session.isInForce(req);
      return principal?.kind !== "jwt" || jwt === undefined || jwt.isInForce(principal);
    },
    find,
  };
}
