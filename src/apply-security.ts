import type { Express, NextFunction, Request, RequestHandler, Response, Router } from "express";
import { apiKeyRoutes, type ApiKeyRoutesSettings } from "./api-key/routes.js";
import { ApiKeyService } from "./api-key/service.js";
import type { Clock } from "./core/clock.js";
import { type SecurityEvents } from "./core/events.js";
import type { Layer, Mode } from "./core/layer.js";
import type { LayerId } from "./core/layer-id.js";
import { compose, passingErrors } from "./core/pipeline.js";
import { requestContext } from "./core/request-events.js";
import { createRuntime, type Runtime } from "./core/runtime.js";
import { requireApiKey, requireAuth, requireJwt, requireSession } from "./guards.js";
import type { HeadersLayer } from "./headers/middleware.js";
import type { HeadersPatch } from "./headers/settings.js";
import { JwtManager } from "./jwt/manager.js";
import { tokenRoutes, type TokenRoutesSettings } from "./jwt/routes.js";
import { LAYERS } from "./layers.js";
import { lifecycle } from "./lifecycle.js";
import {
  checkMountedByRouters,
  lateQueryParser,
  markSecured,
  prepareApp,
  watchRoutingSettings,
} from "./prepare-app.js";
import { createRouteLimit } from "./rate-limit/middleware.js";
import { isWindowStore, type RouteLimitSettings } from "./rate-limit/settings.js";
import {
  logIn,
  logOut,
  type LogInAs,
  type LogInSettings,
  type SessionInfo,
  type SessionLayer,
} from "./session/middleware.js";
import { SetupError } from "./core/setup-error.js";
import { parseSettings } from "./app-settings/parse.js";
import type { ResolvedSecuritySettings, SecuritySettings } from "./app-settings/schema.js";
import { lossesOnRestart, storesOf, warnOfLosses } from "./store-report.js";
import { openStores, type StoreSettings } from "./stores/open.js";

/** One row of `describe()`: what a layer effectively does. */
export interface LayerDescription {
  /** Name of the layer. */
  readonly id: LayerId;
  /** Place of the layer: lower numbers run first. */
  readonly order: number;
  /** Whether the layer refuses or only reports. */
  readonly mode: Mode;
  /** The effective settings, JSON-able; secrets as `[secret]`. */
  readonly settings: Record<string, unknown>;
  /**
   * Where the layer keeps state that outlives a request: "memory", "redis", the engine of the database, or "its own".
   */
  readonly store?: string;
  /** The database, when the layer keeps its records there: engine, location and, once it is open, driver. */
  readonly database?: Record<string, unknown>;
  /** What this layer loses on a restart, given the current stores. */
  readonly lostOnRestart?: string;
}

/** The part of `Security` that does not depend on which protections are on. */
export interface SecurityBase {
  /**
   * Resolves when the stores are connected and their schema exists; rejects with the reason.
   *
   * @throws SetupError (rejects) when a router of this app mounts another secured app, and both have sessions
   */
  ready(): Promise<void>;
  /**
   * Writes pending changes and closes what the library opened: connections made from a URL, and the stores of API
   * keys and tokens, including stores that the app passed (`ready` opens those with their `init`). Stores of limits
   * and sessions that the app passed, Redis clients and Kysely instances stay open: the app closes them. After that,
   * the process can exit by itself.
   */
  close(): Promise<void>;
  /** The layers in their order with their effective settings; JSON-able, secrets as `[secret]`. */
  describe(): LayerDescription[];
  /** The effective settings, frozen, secrets as `[secret]` when printed. */
  readonly settings: ResolvedSecuritySettings;
  /** Announces refusals, credential changes and session changes. */
  readonly events: SecurityEvents;
  /** Route guard that accepts any credential. See `requireAuth`. */
  readonly requireAuth: typeof requireAuth;
  /** Route guard that accepts only API keys. See `requireApiKey`. */
  readonly requireApiKey: typeof requireApiKey;
  /** Route guard that accepts only access tokens. See `requireJwt`. */
  readonly requireJwt: typeof requireJwt;
  /** Route guard that accepts only logged-in sessions. See `requireSession`. */
  readonly requireSession: typeof requireSession;
  /** A limit for one route, counted in the same store. @throws SettingsError */
  rateLimit(limit: RouteLimitSettings): RequestHandler;
  /**
   * Changes the security headers of one route: adds CSP sources, replaces or removes other headers.
   *
   * @throws SettingsError
   */
  headers(patch: HeadersPatch): RequestHandler;
  /** Routes with which callers manage their own keys. @throws SetupError when `apiKeys` is off */
  apiKeyRoutes(options?: ApiKeyRoutesSettings): Router;
  /** `POST /refresh`, `POST /revoke`, `GET /jwks.json`. @throws SetupError when `jwt` is off */
  tokenRoutes(options?: TokenRoutesSettings): Router;
  /**
   * Wraps an async handler for Express 4, where an unhandled rejection ends the process: the error goes to the app's
   * error handling instead. On Express 5 it changes nothing.
   */
  handler(handle: (req: Request, res: Response, next: NextFunction) => unknown): RequestHandler;
  /**
   * Starts a session for a user whose identity the app has checked. It has a new id and is saved before the promise
   * resolves.
   */
  logIn(req: Request, who: LogInAs, options?: LogInSettings): Promise<void>;
  /** Ends the session: deletes it from the store, clears the cookie and sends Clear-Site-Data. */
  logOut(req: Request, res: Response): Promise<void>;
}

/** The sessions of one principal, for "log out everywhere". */
export interface SessionDirectory {
  /** Lists the active sessions of one principal. */
  list(principalId: string | number): Promise<SessionInfo[]>;
  /** Ends one session by its handle from `list`, or all of them; resolves with the number of sessions ended. */
  end(principalId: string | number, handle?: string): Promise<number>;
}

/** `Part` when the setting is certainly on, `Partial<Part>` when it may be on, `unknown` when it is off or absent. */
type When<Settings, Key extends keyof SecuritySettings, Part> = Key extends keyof Settings
  ? [Exclude<Settings[Key], false | undefined>] extends [never]
    ? unknown
    : [Extract<Settings[Key], false | undefined>] extends [never]
      ? Part
      : Partial<Part>
  : unknown;

/**
 * The return value of `applySecurity`. `apiKeys`, `jwt` and `sessions` are in the type when the settings turn them
 * on.
 */
export type Security<Settings = SecuritySettings> = SecurityBase &
  When<Settings, "apiKeys", { readonly apiKeys: ApiKeyService }> &
  When<Settings, "jwt", { readonly jwt: JwtManager }> &
  When<Settings, "session", { readonly sessions: SessionDirectory }>;

/**
 * Resolves to `unknown`, but TypeScript still infers `Settings` from it, because inference looks at both branches of
 * a conditional type. The argument is therefore checked and documented as `SecuritySettings`, and `Settings` is what
 * the app wrote. If the type parameter itself were the type of the argument, editors would show no documentation and
 * misspelt settings would compile.
 */
type InferFrom<Settings> = [Settings] extends [never] ? Settings : unknown;

/** Dependencies that tests can replace: the clock. */
export interface SecurityDependencies {
  /** The time, for tests. Default: the clock of the machine. */
  readonly clock?: Clock;
}

/**
 * Secures an Express app (4.18+ or 5): mounts one handler, `portcullis`, in which the protections run in the order of
 * the layer table. Synchronous; call it before any route. Stores connect in the background: await `ready()` before
 * listening.
 *
 * @throws SettingsError listing everything that is wrong with the settings
 * @throws SetupError when the app has routes already, or was secured before
 *
 * @example
 * ```ts
 * import express from "express";
 * import { applySecurity } from "portcullis";
 *
 * const app = express();
 * const security = applySecurity(app, { trustedHosts: ["api.example.com"], secretKey: process.env.SECRET_KEY, apiKeys: {} });
 * app.get("/me", security.requireAuth(), (req, res) => void res.json(req.principal));
 * await security.ready();
 * app.listen(3000);
 * ```
 */
export function applySecurity<Settings = SecuritySettings>(
  app: Express,
  settings: SecuritySettings & InferFrom<Settings>,
  dependencies: SecurityDependencies = {},
): Security<Settings> {
  const parsed = parseSettings(settings);
  prepareApp(app, parsed.trustProxy, settings.trustProxy !== undefined);
  const runtime = createRuntime({ clock: dependencies.clock, onRefusal: parsed.onRefusal, debug: parsed.debug });
  const stores = openStores(storeSettings(parsed), runtime);
  const apiKeys = parsed.apiKeys
    ? new ApiKeyService(parsed.apiKeys, {
        runtime,
        store: parsed.apiKeys.store ?? stores.apiKeys,
        secretKey: parsed.secretKey,
        limiter: stores.limits,
        changes: stores.changes,
      })
    : undefined;
  const jwt = parsed.jwt
    ? new JwtManager(parsed.jwt, { runtime, store: parsed.jwt.store ?? stores.tokens, secretKey: parsed.secretKey })
    : undefined;
  const rows = LAYERS.flatMap((row) => {
    const layer = row.create({
      settings: parsed,
      runtime,
      limitStore: stores.limits,
      sessionStore: stores.sessions,
      apiKeys,
      jwt,
    });
    return layer ? [{ order: row.order, layer }] : [];
  });
  const lateParser = lateQueryParser(app);
  const leave = (req: Request, error?: object): void => {
    if (error !== undefined) announceFailure(req, runtime);
  };
  const pipeline = compose(
    rows.map(({ layer }) => layer),
    runtime,
    { last: lateParser === undefined ? [] : [lateParser], enter: lateSettingsReport(app, runtime), leave },
  );
  app.use(runtime.resources.carry(pipeline));
  markSecured(app, parsed.session !== false);

  const find = (id: LayerId): Layer | undefined => rows.find(({ layer }) => layer.id === id)?.layer;
  const session = find("session") as SessionLayer | undefined;
  const losses = lossesOnRestart(parsed, stores.places());
  warnOfLosses(losses, parsed.debug);
  const needs = <T>(part: T | undefined, setting: string, method: string): T => {
    if (part === undefined)
      throw new SetupError(
        `${method} needs the setting ${setting}, which is off. Turn it on: applySecurity(app, { ${setting}: {} }).`,
      );
    return part;
  };

  const { ready, close } = lifecycle(
    rows.map(({ layer }) => layer),
    [apiKeys, jwt],
    stores,
    runtime,
  );
  const security: SecurityBase & { apiKeys?: ApiKeyService; jwt?: JwtManager; sessions?: SessionDirectory } = {
    close,
    ready: async () => {
      checkMountedByRouters(app);
      await ready();
    },
    describe: () => {
      const places = storesOf(parsed, stores.places());
      return rows.map(({ order, layer }) => {
        const lost = losses.get(layer.id);
        const store = places.get(layer.id);
        const database =
          store !== undefined && DATABASE_LAYERS.has(layer.id) && store !== "its own" && store !== "memory"
            ? stores.describe()
            : undefined;
        return {
          id: layer.id,
          order,
          mode: layer.mode,
          settings: layer.describe(),
          ...(store === undefined ? {} : { store }),
          ...(database === undefined ? {} : { database }),
          ...(lost === undefined ? {} : { lostOnRestart: lost }),
        };
      });
    },
    settings: parsed,
    events: runtime.events,
    requireAuth: (options) => requireAuth(options, runtime),
    requireApiKey: (options) => requireApiKey(options, runtime),
    requireJwt: (options) => requireJwt(options, runtime),
    requireSession: (options) => requireSession(options, runtime),
    rateLimit: (limit) =>
      createRouteLimit(limit, runtime, { store: stores.limits, defaults: parsed.rateLimit || undefined }),
    headers: (patch) => needs(find("headers") as HeadersLayer | undefined, "headers", "headers()").patch(patch),
    apiKeyRoutes: (options) => apiKeyRoutes(needs(apiKeys, "apiKeys", "apiKeyRoutes()"), options, runtime),
    tokenRoutes: (options) => tokenRoutes(needs(jwt, "jwt", "tokenRoutes()"), options, runtime),
    handler: passingErrors,
    // A mounted app without sessions of its own uses those of the outer app.
    // Not `async`: the returned promises detect a missing `await`.
    logIn: session?.logIn ?? logIn,
    logOut: session?.logOut ?? logOut,
    ...(apiKeys === undefined ? {} : { apiKeys }),
    ...(jwt === undefined ? {} : { jwt }),
    ...(session === undefined ? {} : { sessions: { list: session.list, end: session.end } }),
  };
  return Object.freeze(security) as Security<Settings>;
}

/** On its first call, reports the settings that the app changed after Express had fixed them. */
function lateSettingsReport(app: Express, runtime: Runtime): () => void {
  const lateSettings = watchRoutingSettings(app);
  let isFirst = true;
  return () => {
    if (!isFirst) return;
    isFirst = false;
    const names = lateSettings();
    if (names.length === 0) return;
    process.emitWarning(
      `Express ignores ${names.map((name) => `"${name}"`).join(", ")}, because it was set after applySecurity. Call app.set before applySecurity.`,
      { code: "PORTCULLIS_ROUTING" },
    );
    runtime.events.emit("portcullis_misconfigured", () => ({ source: "pipeline", reason: "late-routing-setting" }));
  };
}

/** The event does not include the error, which may contain anything: it goes to the app's error handling. */
function announceFailure(req: Request, runtime: Runtime): void {
  runtime.events.emit("portcullis_layer_failed", () => {
    const what = { source: "pipeline", reason: "unexpected-error" };
    try {
      return { ...what, ...requestContext(req) };
    } catch {
      // Reading one of these facts may be what made the layer fail.
      return what;
    }
  });
}

function storeSettings({
  redis,
  redisPrefix,
  database,
  rateLimit,
  session,
  apiKeys,
  jwt,
}: ResolvedSecuritySettings): StoreSettings {
  return {
    redis,
    redisPrefix,
    database,
    databaseTimeoutMs: shortest(apiKeys ? apiKeys.storeTimeoutMs : undefined, jwt ? jwt.storeTimeoutMs : undefined),
    // A store of express-rate-limit counts for the main limit only.
    limits: rateLimit && rateLimit.store !== undefined && isWindowStore(rateLimit.store) ? rateLimit.store : undefined,
    maxClients: rateLimit ? rateLimit.maxClients : undefined,
    sessions: session !== false && session.store === undefined,
    credentials: apiKeys !== false || jwt !== false,
  };
}

function shortest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}

/** The layers that keep their records in `database` when it is set. */
const DATABASE_LAYERS: ReadonlySet<LayerId> = new Set(["api-key", "jwt"]);
