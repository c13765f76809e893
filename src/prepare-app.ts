import type { Express } from "express";
import { trustedProxies } from "./core/http/trusted-proxies.js";
import type { ResolvedSecuritySettings } from "./app-settings/schema.js";
import { SetupError } from "./core/setup-error.js";
import { isExchange } from "./settings/object.js";

interface RouterLayer {
  readonly name?: string;
  readonly route?: {
    readonly path: unknown;
    readonly methods: Readonly<Record<string, boolean>>;
    readonly stack: readonly RouterLayer[];
  };
  readonly handle?: object & { readonly stack?: readonly RouterLayer[] };
}

/** The message about an app with a `trust proxy` of its own. */
export const OWN_TRUST_PROXY =
  'The app sets "trust proxy" itself. Use the trustProxy setting instead (trustProxy: 1), so that all layers agree.';

/** The apps that are secured, and whether each has sessions. */
const secured = new WeakMap<Express, { readonly sessions: boolean }>();

/** @throws SetupError when `applySecurity` was mounted like a middleware, or its first argument is no Express app */
export function checkApp(app: Express): void {
  if (isExchange(app))
    throw new SetupError(
      "applySecurity is not a middleware. Call applySecurity(app, settings) once, instead of app.use(applySecurity).",
    );
  if (typeof (app as unknown) !== "function" || typeof app.use !== "function" || typeof app.set !== "function")
    throw new SetupError(
      "applySecurity needs an Express app as its first argument: applySecurity(express(), settings).",
    );
}

/**
 * Checks that the app can still be secured, and changes the Express settings that the protections depend on. Warns of
 * static files that are mounted already.
 *
 * @throws SetupError when the app has routes already, was secured before, or has a `trust proxy` of its own
 */
export function prepareApp(
  app: Express,
  trustProxy: ResolvedSecuritySettings["trustProxy"],
  trustProxyGiven: boolean,
): void {
  if (secured.has(app))
    throw new SetupError(
      "applySecurity was called twice on this app. Call it once, and keep the object that it returns.",
    );
  const routes = routesOf(stackOf(app));
  if (routes.length > 0) {
    throw new SetupError(
      `applySecurity must come before any route, because earlier routes stay unprotected. Move the call above: ${routes.slice(0, 10).join(", ")}${routes.length > 10 ? `, and ${routes.length - 10} more` : ""}.`,
    );
  }
  if (mountedOn(app).some(({ name }) => name === "serveStatic"))
    process.emitWarning(
      "express.static is mounted before applySecurity, so its files are served without protection. Mount it after applySecurity.",
      { code: "PORTCULLIS_ORDER" },
    );
  const own: unknown = ownSetting(app, "trust proxy");
  if (own !== false && own !== undefined && !trustProxyGiven) {
    throw new SetupError(OWN_TRUST_PROXY);
  }
  // Otherwise the setting keeps its default, false, which a mounted app replaces by the setting of the outer app.
  if (trustProxyGiven) app.set("trust proxy", trustedProxies(trustProxy));
  app.disable("x-powered-by");
}

const TWO_SESSIONS =
  "A secured app with sessions is mounted in another one, but a request can have only one session. Set session: false in the inner app; it then uses req.session and req.principal of the outer app.";

/**
 * Remembers that the app is secured. Called last, so that a failed call can be repeated with other settings.
 *
 * @throws SetupError when this app and an outer app both have sessions; also later, from the `app.use` that mounts it
 */
export function markSecured(app: Express, sessions: boolean): void {
  const check = (parent: Express | undefined): void => {
    if (!sessions) return;
    for (let outer = parent; outer !== undefined; outer = parentOf(outer)) {
      if (secured.get(outer)?.sessions === true) throw new SetupError(TWO_SESSIONS);
    }
  };
  check(parentOf(app));
  app.on("mount", (parent) => check(parent as Express));
  secured.set(app, { sessions });
}

/**
 * Searches the routers of a secured app for other apps: Express notifies an app that it is mounted only when
 * `app.use` mounts it. An app that is called from a function is detected at the first request.
 *
 * @throws SetupError when the app and one in its routers both have sessions
 */
export function checkMountedByRouters(app: Express): void {
  if (secured.get(app)?.sessions === true && hasSessionsWithin(stackOf(app), new Set()))
    throw new SetupError(TWO_SESSIONS);
}

/**
 * Searches the routes and routers of an app for functions that should have been called: `requireAuth` in place of
 * `requireAuth()` would answer 500 to every request.
 *
 * @param factories the functions, by the name to show
 * @throws SetupError when one of them is mounted
 */
export function checkFactoriesCalled(app: Express, factories: Readonly<Record<string, unknown>>): void {
  const names = new Map(Object.entries(factories).map(([name, factory]) => [factory, name]));
  const name = mountedName(stackOf(app), names, new Set());
  if (name !== undefined)
    throw new SetupError(`${name} is mounted without being called. Write ${name}() instead of ${name}.`);
}

function mountedName(
  stack: readonly RouterLayer[],
  names: ReadonlyMap<unknown, string>,
  seen: Set<unknown>,
): string | undefined {
  for (const { handle, route } of stack) {
    if (handle === undefined || seen.has(handle)) continue;
    const name = names.get(handle);
    if (name !== undefined) return name;
    seen.add(handle);
    const inner = mountedName(route?.stack ?? handle.stack ?? [], names, seen);
    if (inner !== undefined) return inner;
  }
  return undefined;
}

function hasSessionsWithin(stack: readonly RouterLayer[], seen: Set<unknown>): boolean {
  return stack.some(({ handle }) => {
    if (handle === undefined || seen.has(handle)) return false;
    seen.add(handle);
    if (secured.get(handle as Express)?.sessions === true) return true;
    return hasSessionsWithin(isApp(handle) ? stackOf(handle) : (handle.stack ?? []), seen);
  });
}

function isApp(handle: object): handle is Express {
  return "set" in handle && "settings" in handle;
}

function parentOf(app: Express): Express | undefined {
  return (app as unknown as { readonly parent?: Express }).parent;
}

/** A setting of this app itself, not one inherited from an outer app. */
export function ownSetting(app: Express, name: string): unknown {
  const { settings } = app as unknown as { readonly settings: Readonly<Record<string, unknown>> };
  return Object.hasOwn(settings, name) ? settings[name] : undefined;
}

/** Express 4 creates its router on first use, with this method; Express 5 has no such method. */
export function isExpress4(app: Express): boolean {
  return typeof (app as unknown as { lazyrouter?: unknown }).lazyrouter === "function";
}

/** What is mounted on an app: a function, and its name. */
export interface Mounted {
  readonly name?: string;
  readonly handle?: object;
}

/** What is mounted on the app itself, in its order. */
export function mountedOn(app: Express): readonly Mounted[] {
  return stackOf(app);
}

/** What is mounted first, if anything is. Express 4 mounts middleware of its own before the first one of the app. */
export function firstMiddleware(app: Express): unknown {
  return stackOf(app)[0]?.handle;
}

/**
 * Express 4 keeps its router in `_router`, created on first use. Express 5 keeps it in `router`, where Express 4 has
 * a getter that throws.
 */
function stackOf(app: Express): readonly RouterLayer[] {
  const inside = app as unknown as { _router?: { stack: RouterLayer[] }; router: { stack: RouterLayer[] } };
  const router = isExpress4(app) ? inside._router : inside.router;
  return router?.stack ?? [];
}

/**
 * The routes of a stack and of the routers mounted in it, as `GET /path`. A mounted app handles its own routes, so it
 * counts as one.
 */
function routesOf(stack: readonly RouterLayer[]): string[] {
  return stack.flatMap((layer) => {
    if (layer.route !== undefined) {
      const methods = Object.keys(layer.route.methods).filter((method) => layer.route?.methods[method] === true);
      return [
        `${methods.map((method) => (method === "_all" ? "ALL" : method.toUpperCase())).join("|")} ${String(layer.route.path)}`,
      ];
    }
    if (layer.name === "mounted_app") return ["a mounted app"];
    const inner = layer.handle?.stack;
    if (inner === undefined) return [];
    // Its routes are added later, but run before the protections.
    return inner.length === 0 ? ["a mounted router without routes yet"] : routesOf(inner);
  });
}
