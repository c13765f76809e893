import type { Server } from "node:http";
import type { Express, Request } from "express";
import { apiKeyRoutes } from "./api-key/routes.js";
import { createAddressRules } from "./address-rules.js";
import { ApiKeyService } from "./api-key/service.js";
import type { Clock } from "./core/clock.js";
import type { Layer } from "./core/layer.js";
import type { LayerId } from "./core/layer-id.js";
import { compose, passingErrors } from "./core/pipeline.js";
import { requestContext } from "./core/request-events.js";
import { createRuntime, type Runtime } from "./core/runtime.js";
import { requireApiKey, requireAuth, requireJwt, requireSession } from "./guards.js";
import type { HeadersLayer } from "./headers/middleware.js";
import { JwtManager } from "./jwt/manager.js";
import { tokenRoutes } from "./jwt/routes.js";
import { LAYERS } from "./layers.js";
import { originCheckOf } from "./cors/compile.js";
import { firstRequestReport } from "./first-request-report.js";
import { lateQueryParser } from "./late-settings.js";
import { lifecycle } from "./lifecycle.js";
import { offerModules, type SecurityModule } from "./module-host.js";
import { warnOfEarlierPackages } from "./other-packages.js";
import {
  checkApp,
  checkFactoriesCalled,
  checkMountedByRouters,
  isExpress4,
  firstMiddleware,
  markSecured,
  prepareApp,
} from "./prepare-app.js";
import { LimitDirectory, type PeekSettings } from "./rate-limit/directory.js";
import { loginFailed } from "./rate-limit/login-failed.js";
import { LoginCounters } from "./rate-limit/login-counters.js";
import { createLoginGuard } from "./rate-limit/login-guard.js";
import { defineRateLimit } from "./rate-limit/request-limit.js";
import { createRouteLimit } from "./rate-limit/route-limit.js";
import { logIn, logOut } from "./session/log-in.js";
import type { SessionLayer } from "./session/middleware.js";
import type { SessionDirectory } from "./session/principal-sessions.js";
import { SetupError } from "./core/setup-error.js";
import { RESET_LIMITS, resetAll } from "./core/test-access.js";
import { givenSettings, parseSettings } from "./app-settings/parse.js";
import type { SecuritySettings } from "./app-settings/schema.js";
import { warnOfSettings } from "./app-settings/warnings.js";
import type { LayerDescription, Merged, Security, SecurityBase } from "./security.js";
import { lossesOnRestart, storesOf, warnOfLosses } from "./store-report.js";
import { beforeExpress } from "./server/before-express.js";
import { serverClasses } from "./server/classes.js";
import { createFastServer, ONLY_OPTIONS, type FastServerSettings } from "./server/create-server.js";
import { replaceListen } from "./server/listen.js";
import { openStores } from "./stores/open.js";
import { createRevokeAll } from "./revoke-all.js";
import { storeSettings } from "./store-settings.js";
import { createUsePrincipal } from "./use-principal.js";

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
  dependencies?: SecurityDependencies,
): Security<Settings>;
/**
 * Secures an app with two objects of settings that are merged: those of the environment and the app's own. A later value
 * wins, but a protection is off when one of the two is `false` and the other an object; objects are merged key by key,
 * lists are replaced, `undefined` is ignored.
 *
 * @throws SettingsError listing everything that is wrong with the settings; what came from a variable is listed under
 * its name
 * @throws SetupError when the app has routes already, or was secured before
 *
 * @example
 * ```ts
 * import express from "express";
 * import { applySecurity, settingsFromEnv } from "portcullis";
 *
 * const app = express();
 * applySecurity(app, [settingsFromEnv(), { session: { sameSite: "strict" }, rateLimit: { perPrincipal: { limit: 300 } } }]);
 * ```
 */
export function applySecurity<First = SecuritySettings, Second = SecuritySettings>(
  app: Express,
  settings: readonly [SecuritySettings & InferFrom<First>, SecuritySettings & InferFrom<Second>],
  dependencies?: SecurityDependencies,
): Security<Merged<First, Second>>;
export function applySecurity(
  app: Express,
  given: SecuritySettings | readonly SecuritySettings[],
  dependencies: SecurityDependencies = {},
): Security {
  checkApp(app);
  const parsed = parseSettings(given);
  const settings = givenSettings(given);
  prepareApp(app, parsed.trustProxy, settings.trustProxy !== undefined);
  warnOfEarlierPackages(app, parsed);
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
  const originCheck = parsed.cors ? originCheckOf(parsed.cors) : undefined;
  const limits = new LimitDirectory(runtime);
  defineRateLimit(app.request);
  const rows = LAYERS.flatMap((row) => {
    const layer = row.create({
      settings: parsed,
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
  const lateParser = lateQueryParser(app);
  const leave = (req: Request, error?: object): void => {
    if (error !== undefined) announceFailure(req, runtime);
  };
  const pipeline = compose(
    rows.map(({ layer }) => layer),
    runtime,
    { last: lateParser === undefined ? [] : [lateParser], enter: firstRequestReport(app, runtime, parsed), leave },
  );
  const handler = runtime.resources.carry(pipeline);
  const early =
    !isExpress4(app) && firstMiddleware(app) === undefined
      ? beforeExpress(app, handler, () => firstMiddleware(app))
      : { listener: app, middleware: handler };
  app.use(early.middleware);
  const serverOptions = serverClasses(app);
  const createServer = (options?: FastServerSettings, ...more: unknown[]): Server => {
    if (more.length > 0) throw new SetupError(ONLY_OPTIONS);
    return createFastServer(early.listener, serverOptions, options);
  };
  if (parsed.fastServer) replaceListen(app, createServer, !isExpress4(app));
  markSecured(app, parsed.session !== false);

  const find = (id: LayerId): Layer | undefined => rows.find(({ layer }) => layer.id === id)?.layer;
  const session = find("session") as SessionLayer | undefined;
  const losses = lossesOnRestart(parsed, stores.places());
  warnOfLosses(losses, parsed.debug);
  warnOfSettings(parsed);
  const needs = <T>(part: T | undefined, setting: string, method: string): T => {
    if (part === undefined)
      throw new SetupError(
        `${method} needs the setting ${setting}, which is off. Turn it on: applySecurity(app, { ${setting}: {} }).`,
      );
    return part;
  };

  const isInForce = async (req: Request): Promise<boolean> => {
    const { principal } = req;
    if (principal?.kind === "session" && session !== undefined) return session.isInForce(req);
    return principal?.kind !== "jwt" || jwt === undefined || jwt.isInForce(principal);
  };

  /** Reports a guard of `security` whose protection is off: unless an outer app runs it, the guard answers 500. */
  const reportIfOff = (part: unknown, setting: string, name: string): void => {
    if (part !== undefined) return;
    process.emitWarning(
      `security.${name}() needs the setting ${setting}, which is off. Turn it on: applySecurity(app, { ${setting}: {} }). If an outer app or other middleware proves the callers, import ${name} from portcullis.`,
      { code: "PORTCULLIS_GUARD" },
    );
  };

  const modules: SecurityModule[] = [];
  let isStarted = false;
  const { ready, close } = lifecycle(
    rows.map(({ layer }) => layer),
    [apiKeys, jwt],
    modules,
    stores,
    runtime,
  );
  let counters: LoginCounters | undefined;
  const loginCounters = (): LoginCounters => {
    if (counters !== undefined) return counters;
    counters = new LoginCounters(parsed.loginLimits, parsed.rateLimit || undefined, stores.limits, runtime);
    for (const listed of counters.listed()) limits.add(listed);
    return counters;
  };
  const security: SecurityBase & { apiKeys?: ApiKeyService; jwt?: JwtManager; sessions?: SessionDirectory } = {
    close: async () => {
      counters?.close();
      await close();
    },
    ready: async () => {
      isStarted = true;
      checkMountedByRouters(app);
      checkFactoriesCalled(app, { requireAuth, requireApiKey, requireJwt, requireSession });
      checkFactoriesCalled(app, methodsThatMake(security));
      await ready();
    },
    describe: () => {
      const places = storesOf(parsed, stores.places());
      const ofLayers = rows.map(({ order, layer }): LayerDescription => {
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
      return [...ofLayers, ...modules.map(describeModule)];
    },
    createServer,
    serverOptions,
    settings: parsed,
    events: runtime.events,
    requireAuth: (options) => requireAuth(options, runtime),
    requireApiKey(options) {
      reportIfOff(apiKeys, "apiKeys", "requireApiKey");
      return requireApiKey(options, runtime);
    },
    requireJwt(options) {
      reportIfOff(jwt, "jwt", "requireJwt");
      return requireJwt(options, runtime);
    },
    requireSession(options) {
      reportIfOff(session, "session", "requireSession");
      return requireSession(options, runtime);
    },
    rateLimit: (limit) =>
      createRouteLimit(limit, runtime, {
        store: stores.limits,
        defaults: parsed.rateLimit || undefined,
        directory: limits,
      }),
    loginGuard: (options) => createLoginGuard(options, runtime, loginCounters()),
    loginFailed: (req, failure) => loginFailed(req, failure, runtime),
    limits: Object.freeze({
      peek: (name: string, key: string, options?: PeekSettings) => limits.peek(name, key, options),
      reset: (name: string, key: string) => limits.reset(name, key),
    }),
    ...createAddressRules(runtime, settings.trustProxy !== undefined || parsed.debug),
    headers: (patch) => needs(find("headers") as HeadersLayer | undefined, "headers", "headers()").patch(patch),
    apiKeyRoutes: (options) => apiKeyRoutes(needs(apiKeys, "apiKeys", "apiKeyRoutes()"), options, runtime, isInForce),
    tokenRoutes: (options) => tokenRoutes(needs(jwt, "jwt", "tokenRoutes()"), options, runtime),
    usePrincipal: createUsePrincipal(runtime, parsed.csrf !== false || settings.csrf === false),
    revokeAll: createRevokeAll({ session, jwt, apiKeys }, runtime),
    handler: passingErrors,
    // A mounted app without sessions of its own uses those of the outer app.
    // Not `async`: the returned promises detect a missing `await`.
    logIn: session?.logIn ?? logIn,
    logOut: session?.logOut ?? logOut,
    ...(apiKeys === undefined ? {} : { apiKeys }),
    ...(jwt === undefined ? {} : { jwt }),
    ...(session === undefined ? {} : { sessions: { list: session.list, end: session.end } }),
  };
  Object.defineProperty(security, RESET_LIMITS, {
    value: () => resetAll(stores.limits, parsed.rateLimit ? parsed.rateLimit.store : undefined),
  });
  offerModules(security, {
    runtime,
    settings: parsed,
    session,
    jwt,
    apiKeys,
    limits: stores.limits,
    isInForce,
    accountStores: () => stores.accounts(),
    loginCounters,
    add(module) {
      if (isStarted) throw new SetupError("Make every module before security.ready() is called.");
      if (modules.some(({ id }) => id === module.id))
        throw new SetupError("createAccounts was called twice for one app. Call it once and share what it returns.");
      modules.push(module);
    },
  });
  return Object.freeze(security);
}

function describeModule(module: SecurityModule): LayerDescription {
  const { id, order, lostOnRestart } = module;
  return {
    id,
    order,
    mode: "enforce",
    settings: module.describe(),
    store: module.store(),
    ...(lostOnRestart === undefined ? {} : { lostOnRestart }),
  };
}

/** The methods whose result is mounted, under the names that an app writes. */
function methodsThatMake(security: SecurityBase): Record<string, unknown> {
  const names = ["requireAuth", "requireApiKey", "requireJwt", "requireSession", "rateLimit", "headers"] as const;
  return Object.fromEntries(names.map((name) => [`security.${name}`, security[name]]));
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

/** The layers that keep their records in `database` when it is set. */
const DATABASE_LAYERS: ReadonlySet<LayerId> = new Set(["api-key", "jwt"]);
