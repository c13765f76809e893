import type { Server } from "node:http";
import type { ServerClasses } from "./server/classes.js";
import type { FastServerSettings } from "./server/create-server.js";
import type { NextFunction, Request, RequestHandler, Response, Router } from "express";
import type { Middleware } from "./core/middleware.js";
import type { ApiKeyRoutesSettings } from "./api-key/routes.js";
import type { ApiKeyService } from "./api-key/service.js";
import type { ResolvedSecuritySettings, SecuritySettings } from "./app-settings/schema.js";
import type { SecurityEvents } from "./core/events.js";
import type { LayerId } from "./core/layer-id.js";
import type { Mode } from "./core/layer.js";
import type { requireApiKey, requireAuth, requireJwt, requireSession } from "./guards.js";
import type { HeadersPatch } from "./headers/settings.js";
import type { JwtManager } from "./jwt/manager.js";
import type { TokenRoutesSettings } from "./jwt/routes.js";
import type { Limits } from "./rate-limit/directory.js";
import type { RouteLimitSettings } from "./rate-limit/settings.js";
import type { LogInAs, LogInSettings, LogOutSettings } from "./session/log-in.js";
import type { SessionDirectory } from "./session/principal-sessions.js";
import type { UsePrincipal } from "./use-principal.js";

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
  /**
   * Creates an HTTP server for the app, as `http.createServer(app)` does, whose requests have the app's own prototypes
   * from the start. A request then takes about a third of the time on Node 20 and 22, and a little less on later
   * ones. `app.listen` uses such a server by itself, unless `fastServer` is `false`.
   *
   * @param options the options of `http.createServer`, but for its classes
   * @throws SetupError when the options name `IncomingMessage` or `ServerResponse`
   *
   * @example
   * ```ts
   * import express from "express";
   * import { applySecurity } from "portcullis";
   *
   * const app = express();
   * const security = applySecurity(app, { trustedHosts: ["api.example.com"] });
   * app.get("/", (_req, res) => void res.json({ hello: "world" }));
   * security.createServer({ keepAliveTimeout: 65_000 }).listen(3000);
   * ```
   */
  createServer(options?: FastServerSettings): Server;
  /**
   * The classes that `createServer` uses, for other servers:
   * `https.createServer({ ...security.serverOptions, key, cert }, app)`.
   */
  readonly serverOptions: ServerClasses;
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
  rateLimit(limit: RouteLimitSettings): Middleware;
  /** What is left of a limit for a client, and starting it afresh. */
  readonly limits: Limits;
  /**
   * Changes the security headers of one route: adds CSP sources, replaces or removes other headers.
   *
   * @throws SettingsError
   */
  headers(patch: HeadersPatch): Middleware;
  /** Routes with which callers manage their own keys. @throws SetupError when `apiKeys` is off */
  apiKeyRoutes(options?: ApiKeyRoutesSettings): Router;
  /** `POST /refresh`, `POST /revoke`, `GET /jwks.json`. @throws SetupError when `jwt` is off */
  tokenRoutes(options?: TokenRoutesSettings): Router;
  /**
   * Sets `req.principal`, of kind `external`, for a caller whom something else has authenticated: Passport, a proxy, a
   * client certificate. Call it in a middleware, for each request, with `undefined` for an anonymous caller: guards
   * then answer 401. The limit `perPrincipal` does not count these callers, because it runs before; a `rateLimit` of a
   * route does.
   *
   * @throws InvalidInputError (`status` 400) when the id, the scopes or the roles are malformed
   * @throws AmbiguousCredentialsError (`status` 400) when the request also has an API key, a token or a session
   * @throws SetupError when the request did not pass the protections, or csrf is off and not set to `false`
   *
   * @example
   * ```ts
   * import express from "express";
   * import { applySecurity } from "portcullis";
   *
   * const app = express();
   * const security = applySecurity(app, { trustedHosts: ["app.example.com"], csrf: {} });
   * app.use((req, _res, next) => {
   *   const { user } = req as { user?: { id: string } }; // set by Passport
   *   security.usePrincipal(req, user && { id: user.id });
   *   next();
   * });
   * app.get("/me", security.requireAuth(), (req, res) => void res.json(req.principal));
   * ```
   */
  readonly usePrincipal: UsePrincipal;
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
  logOut(req: Request, res: Response, options?: LogOutSettings): Promise<void>;
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

/** What two objects of settings turn on when they are merged: a later value wins, and `false` wins over an object. */
export type Merged<First, Second> = {
  [Key in keyof First | keyof Second]: MergedValue<ValueAt<First, Key>, ValueAt<Second, Key>>;
};
type ValueAt<Settings, Key> = Key extends keyof Settings ? Settings[Key] : undefined;
type MergedValue<First, Second> = undefined extends Second
  ? First | Exclude<Second, undefined>
  : Second | Extract<First, false>;
