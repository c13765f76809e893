import type { Express } from "express";
import { trustedProxies } from "./core/trusted-proxies.js";
import type { ParsedSettings } from "./settings/schema.js";
import { SetupError } from "./settings/errors.js";

interface RouterLayer {
  readonly name?: string;
  readonly route?: { readonly path: unknown; readonly methods: Readonly<Record<string, boolean>> };
  readonly handle?: { readonly stack?: readonly RouterLayer[] };
}

const secured = new WeakSet<Express>();

/**
 * Checks that the app may still be secured, and sets what Express itself must know.
 *
 * @throws SetupError when the app has routes already, was secured before, or has a `trust proxy` of its own
 */
export function prepareApp(app: Express, trustProxy: ParsedSettings["trustProxy"], trustProxyGiven: boolean): void {
  if (typeof (app as unknown) !== "function" || typeof app.use !== "function" || typeof app.set !== "function") {
    throw new SetupError("applySecurity needs an Express app as its first argument: applySecurity(express(), settings).");
  }
  if (secured.has(app)) throw new SetupError("applySecurity was called twice on this app. Call it once, and keep what it returns.");
  const routes = routesOf(stackOf(app));
  if (routes.length > 0) {
    throw new SetupError(
      `applySecurity must come before any route, or those routes stay unprotected. Move the call above: ${routes.slice(0, 10).join(", ")}${routes.length > 10 ? `, and ${routes.length - 10} more` : ""}.`,
    );
  }
  const own: unknown = app.get("trust proxy");
  if (own !== false && own !== undefined && !trustProxyGiven) {
    throw new SetupError('The app sets "trust proxy" itself. Say it in the settings instead (trustProxy: 1), so that every protection sees the same.');
  }
  app.set("trust proxy", trustedProxies(trustProxy));
  app.disable("x-powered-by");
}

/** Remembers that the app is secured. Called last, so that a call that failed can be made again with other settings. */
export function markSecured(app: Express): void {
  secured.add(app);
}

/** Express 4 keeps its router in `_router`, made on first use; Express 5 in `router`, where Express 4 has a getter that throws. */
function stackOf(app: Express): readonly RouterLayer[] {
  const inside = app as unknown as { lazyrouter?: unknown; _router?: { stack: RouterLayer[] }; router: { stack: RouterLayer[] } };
  const router = typeof inside.lazyrouter === "function" ? inside._router : inside.router;
  return router?.stack ?? [];
}

/** The routes of a stack and of the routers mounted in it, as `GET /path`. A mounted app answers for itself, so it counts as one. */
function routesOf(stack: readonly RouterLayer[]): string[] {
  return stack.flatMap((layer) => {
    if (layer.route !== undefined) {
      const methods = Object.keys(layer.route.methods).filter((method) => layer.route?.methods[method] === true);
      return [`${methods.map((method) => (method === "_all" ? "ALL" : method.toUpperCase())).join("|")} ${String(layer.route.path)}`];
    }
    if (layer.name === "mounted_app") return ["a mounted app"];
    const inner = layer.handle?.stack;
    if (inner === undefined) return [];
    // Its routes come later, but it stands before us.
    return inner.length === 0 ? ["a mounted router without routes yet"] : routesOf(inner);
  });
}
