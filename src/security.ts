import type { Server } from "node:http";
import type { ServerClasses } from "./server/classes.js";
import type { FastServerSettings } from "./server/create-server.js";
import type { NextFunction, Request, RequestHandler, Response, Router } from "express";
import type { Middleware } from "./core/middleware.js";
import type { ApiKeyRoutesSettings } from "./api-key/routes-settings.js";
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
import type { LoginFailure } from "./rate-limit/login-failed.js";
import type { LoginGuardSettings } from "./rate-limit/login-settings.js";
import type { RouteLimitSettings } from "./rate-limit/route-settings.js";
import type { LogInAs, LogInSettings, LogOutSettings } from "./session/log-in.js";
import type { SessionDirectory } from "./session/principal-sessions.js";
import type { RevokeAll } from "./revoke-all.js";
import type { UsePrincipal } from "./use-principal.js";

/** One row of `describe()`: what a layer effectively does. */
export interface LayerDescription {
  /** Name of the layer, or of a module beyond the layers. */
  readonly id: LayerId | "accounts";
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
   * @throws SetupError (rejects) when a router of this app mounts another secured app, and both have sessions; when a
   * guard is mounted without being called
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
  /**
   * Middleware for a log-in route, before the password is checked: counts the attempt by address, by account and address,
   * and by account (`loginLimits`), or answers 429. `logIn` in the same request gives back what that request has taken;
   * any other end keeps it. Where a log-in ends without `logIn`, with tokens for example, call `req.rateLimit.refund()`.
   *
   * @throws SettingsError
   *
   * @example
   * ```ts
   * import express from "express";
   * import { applySecurity } from "portcullis";
   *
   * declare function checkPassword(user: string, password: string): Promise<boolean>; // yours
   *
   * const app = express();
   * const security = applySecurity(app, { trustedHosts: ["app.example.com"], secretKey: process.env.SECRET_KEY, session: {} });
   * const account = (req: express.Request) => String((req.body as { user: unknown }).user);
   * app.post("/login", express.json(), security.loginGuard({ account }), async (req, res) => {
   *   const { user, password } = req.body as { user: string; password: string };
   *   if (!(await checkPassword(user, password))) {
   *     security.loginFailed(req, { reason: "wrong-password" });
   *     return void res.sendStatus(401);
   *   }
   *   await security.logIn(req, { id: user });
   *   res.sendStatus(204);
   * });
   * ```
   */
  loginGuard(options: LoginGuardSettings): Middleware;
  /**
   * Puts a failed log-in into the security log: the event `authn_login_fail` with this reason. It counts nothing;
   * `loginGuard` does.
   *
   * @throws InvalidInputError when the reason is not 1 to 64 letters, digits, `-` or `_`
   */
  loginFailed(req: Request, failure: LoginFailure): void;
  /** What is left of a limit for a client, and starting it afresh. */
  readonly limits: Limits;
  /**
   * Lets only clients from these addresses and CIDR ranges use a route; others get 403 `address-refused`. IPv4 written
   * as IPv6 (`::ffff:192.0.2.7`) is IPv4. A client whose address is not known is refused.
   *
   * @param ranges at least one, and together not a large part of all addresses
   * @throws SettingsError when a range is malformed, or `trustProxy` is not set, so that the address of a client may be
   * that of a proxy; not with `debug`
   *
   * @example
   * ```ts
   * import express from "express";
   * import { applySecurity } from "portcullis";
   *
   * const app = express();
   * const security = applySecurity(app, { trustedHosts: ["api.example.com"], trustProxy: 1 });
   * app.use("/admin", security.allowFrom(["10.0.0.0/8", "2001:db8::/32"]), security.requireAuth({ roles: ["admin"] }));
   * ```
   */
  allowFrom(ranges: readonly string[]): Middleware;
  /**
   * Refuses clients from these addresses and CIDR ranges with 403 `address-refused`. For all routes, before anything is
   * counted, use `rateLimit.deny`.
   *
   * @param ranges at least one
   * @throws SettingsError as `allowFrom` does
   *
   * @example
   * ```ts
   * import express from "express";
   * import { applySecurity } from "portcullis";
   *
   * const app = express();
   * const security = applySecurity(app, { trustedHosts: ["api.example.com"], trustProxy: 1 });
   * app.post("/register", security.denyFrom(["192.0.2.0/24"]), (_req, res) => void res.sendStatus(202));
   * ```
   */
  denyFrom(ranges: readonly string[]): Middleware;
  /**
   * Changes the security headers of one route: adds CSP sources, replaces or removes other headers.
   *
   * @throws SettingsError
   */
  headers(patch: HeadersPatch): Middleware;
  /** Routes with which callers manage their own keys. Warns when `apiKeys` is off. */
  apiKeyRoutes(options?: ApiKeyRoutesSettings): Router;
  /** `POST /refresh`, `POST /revoke`, `GET /jwks.json`. Warns when `jwt` is off. */
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
   * Ends every session, token family, access token and API key of one principal that was made before this call, and the
   * sessions in which it acts as someone else: after a stolen password, a lost device, a dismissal. Every process that
   * shares Redis or a database refuses them within a second, also where sessions are in a store of the app's own. It
   * takes one mark for each kind, however many there are; the records are cleaned up afterwards. A credential that is
   * made during the call is ended too, or refused; a log-in after it works in every process, whatever their clocks say.
   *
   * @param options `keep`: the one credential that goes on, normally `req.principal`
   * @returns how many it ended, as far as that is known within the time-outs of the stores
   * @throws InvalidInputError (rejects, `status` 400) when the id, `keep` or the reason is malformed, or `keep` is a `jti`
   * @throws StoreUnavailableError (rejects, `status` 503) when a store did not accept its mark in time. What was accepted
   * holds, this process repeats the rest, and the same call may be made again
   *
   * @example
   * ```ts
   * import express from "express";
   * import { applySecurity } from "portcullis";
   *
   * const app = express();
   * const security = applySecurity(app, {
   *   trustedHosts: ["app.example.com"], secretKey: process.env.SECRET_KEY, session: {}, jwt: {}, apiKeys: {},
   * });
   * app.post("/log-out-everywhere-else", security.requireAuth(), security.handler(async (req, res) => {
   *   const { principal } = req;
   *   if (principal !== undefined) await security.revokeAll(principal.id, { keep: principal, reason: "asked by user" });
   *   res.sendStatus(204);
   * }));
   * ```
   */
  readonly revokeAll: RevokeAll;
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

/** What two objects of settings turn on when they are merged: what is `false` in one of them is off. */
export type Merged<First, Second> = {
  [Key in keyof First | keyof Second]: MergedValue<ValueAt<First, Key>, ValueAt<Second, Key>>;
};
type ValueAt<Settings, Key> = Key extends keyof Settings ? Settings[Key] : undefined;
type MergedValue<First, Second> = undefined extends Second
  ? First | Exclude<Second, undefined>
  : Second | Extract<First, false>;
