import type { Express } from "express";
import { apiKeyRoutes } from "./api-key/routes.js";
import type { ApiKeyService } from "./api-key/service.js";
import { createAddressRules } from "./address-rules.js";
import type { SecuritySettings } from "./app-settings/schema.js";
import { passingErrors } from "./core/pipeline.js";
import { SetupError } from "./core/setup-error.js";
import { RESET_LIMITS, resetAll } from "./core/test-access.js";
import { describeSecurity } from "./describe-security.js";
import { requireApiKey, requireAuth, requireJwt, requireSession } from "./guards.js";
import type { HeadersLayer } from "./headers/middleware.js";
import type { JwtManager } from "./jwt/manager.js";
import { tokenRoutes } from "./jwt/routes.js";
import { lifecycle } from "./lifecycle.js";
import { offerModules, type SecurityModule } from "./module-host.js";
import type { Servers } from "./mount-layers.js";
import type { SecurityParts } from "./security-parts.js";
import { watchTrustProxy } from "./late-settings.js";
import { checkFactoriesCalled, checkMountedByRouters, OWN_TRUST_PROXY } from "./prepare-app.js";
import type { PeekSettings } from "./rate-limit/directory.js";
import { loginFailed } from "./rate-limit/login-failed.js";
import { createLoginGuard } from "./rate-limit/login-guard.js";
import { createRouteLimit } from "./rate-limit/route-limit.js";
import { createRevokeAll } from "./revoke-all.js";
import type { Security, SecurityBase } from "./security.js";
import { logIn, logOut } from "./session/log-in.js";
import type { SessionDirectory } from "./session/principal-sessions.js";
import { lossesOnRestart, warnOfLosses } from "./store-report.js";
import { createUsePrincipal } from "./use-principal.js";

/**
 * The object that `applySecurity` returns: every method, over the parts that are on.
 *
 * @param given the settings as the app wrote them
 */
export function createSecurity(
  app: Express,
  parts: SecurityParts,
  servers: Servers,
  given: SecuritySettings,
): Security {
  const { settings, runtime, stores, apiKeys, jwt, session, limits, layers } = parts;
  const losses = lossesOnRestart(settings, stores.places());
  warnOfLosses(losses, settings.debug);
  const modules: SecurityModule[] = [];
  let isStarted = false;
  const setsTrustProxy = watchTrustProxy(app);
  const { ready, close } = lifecycle(
    layers.map(({ layer }) => layer),
    [apiKeys, jwt],
    modules,
    stores,
    runtime,
  );
  const security: SecurityBase & { apiKeys?: ApiKeyService; jwt?: JwtManager; sessions?: SessionDirectory } = {
    close: async () => {
      parts.closeLoginCounters();
      await close();
    },
    ready: async () => {
      isStarted = true;
      if (setsTrustProxy()) throw new SetupError(OWN_TRUST_PROXY);
      checkMountedByRouters(app);
      checkFactoriesCalled(app, { requireAuth, requireApiKey, requireJwt, requireSession });
      checkFactoriesCalled(app, methodsThatMake(security));
      await ready();
    },
    describe: () => describeSecurity(parts, modules, losses),
    ...servers,
    settings,
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
        defaults: settings.rateLimit || undefined,
        directory: limits,
      }),
    loginGuard: (options) => createLoginGuard(options, runtime, parts.loginCounters()),
    loginFailed: (req, failure) => loginFailed(req, failure, runtime),
    limits: Object.freeze({
      peek: (name: string, key: string, options?: PeekSettings) => limits.peek(name, key, options),
      reset: (name: string, key: string) => limits.reset(name, key),
    }),
    ...createAddressRules(runtime, given.trustProxy !== undefined || settings.debug),
    headers: (patch) => needs(parts.find("headers") as HeadersLayer | undefined, "headers", "headers()").patch(patch),
    apiKeyRoutes: (options) =>
      apiKeyRoutes(needs(apiKeys, "apiKeys", "apiKeyRoutes()"), options, runtime, parts.isInForce),
    tokenRoutes: (options) => tokenRoutes(needs(jwt, "jwt", "tokenRoutes()"), options, runtime),
    usePrincipal: createUsePrincipal(runtime, settings.csrf !== false || given.csrf === false),
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
    value: () => resetAll(stores.limits, settings.rateLimit ? settings.rateLimit.store : undefined),
  });
  offerModules(security, {
    runtime,
    settings,
    session,
    jwt,
    apiKeys,
    limits: stores.limits,
    isInForce: parts.isInForce,
    accountStores: () => stores.accounts(),
    loginCounters: parts.loginCounters,
    add(module) {
      if (isStarted) throw new SetupError("Make every module before security.ready() is called.");
      if (modules.some(({ id }) => id === module.id))
        throw new SetupError("createAccounts was called twice for one app. Call it once and share what it returns.");
      modules.push(module);
    },
  });
  return Object.freeze(security);
}

/** @throws SetupError when the part is off */
function needs<T>(part: T | undefined, setting: string, method: string): T {
  if (part === undefined)
    throw new SetupError(
      `${method} needs the setting ${setting}, which is off. Turn it on: applySecurity(app, { ${setting}: {} }).`,
    );
  return part;
}

/** Reports a guard of `security` whose protection is off: unless an outer app runs it, the guard answers 500. */
function reportIfOff(part: unknown, setting: string, name: string): void {
  if (part !== undefined) return;
  process.emitWarning(
    `security.${name}() needs the setting ${setting}, which is off. Turn it on: applySecurity(app, { ${setting}: {} }). If an outer app or other middleware proves the callers, import ${name} from portcullis.`,
    { code: "PORTCULLIS_GUARD" },
  );
}

/** The methods whose result is mounted, under the names that an app writes. */
function methodsThatMake(security: SecurityBase): Record<string, unknown> {
  const names = ["requireAuth", "requireApiKey", "requireJwt", "requireSession", "rateLimit", "headers"] as const;
  return Object.fromEntries(names.map((name) => [`security.${name}`, security[name]]));
}
