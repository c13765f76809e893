import type { Express } from "express";
import { givenSettings, parseSettings } from "./app-settings/parse.js";
import type { SecuritySettings } from "./app-settings/schema.js";
import { warnOfSettings } from "./app-settings/warnings.js";
import type { Clock } from "./core/clock.js";
import { createRuntime } from "./core/runtime.js";
import { createSecurity } from "./create-security.js";
import { mountLayers } from "./mount-layers.js";
import { warnOfEarlierPackages } from "./other-packages.js";
import { createParts } from "./security-parts.js";
import { checkApp, markSecured, prepareApp } from "./prepare-app.js";
import { defineRateLimit } from "./rate-limit/request-limit.js";
import type { Merged, Security } from "./security.js";

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
export function applySecurity(
  app: Express,
  settings: SecuritySettings | readonly SecuritySettings[],
  dependencies: SecurityDependencies = {},
): Security {
  checkApp(app);
  const parsed = parseSettings(settings);
  const given = givenSettings(settings);
  prepareApp(app, parsed.trustProxy, given.trustProxy !== undefined);
  warnOfEarlierPackages(app, parsed);
  const runtime = createRuntime({ clock: dependencies.clock, onRefusal: parsed.onRefusal, debug: parsed.debug });
  const parts = createParts(parsed, runtime);
  defineRateLimit(app.request);
  const servers = mountLayers(app, parts);
  markSecured(app, parsed.session !== false);
  warnOfSettings(parsed);
  return createSecurity(app, parts, servers, given);
}
