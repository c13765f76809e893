import type { Request, RequestHandler } from "express";
import type { Middleware } from "./core/middleware.js";
import { z } from "zod";
import { prefersHtml } from "./core/http/accept.js";
import { challenge } from "./core/http/authorization.js";
import { isLocalPath, withReturnTo } from "./core/http/local-path.js";
import type { CredentialKind, Principal } from "./core/principal.js";
import { refuse } from "./core/response/refuse.js";
import type { Refusal } from "./core/response/problem.js";
import { beginState, stateOf } from "./core/request-state.js";
import { type PartDependencies, partRuntime } from "./core/runtime.js";
import { missingScopes } from "./core/scopes.js";
import { roleSchema, scopeSchema } from "./settings/identity.js";
import { addIssue, parseFactory, settingsObject } from "./settings/object.js";

const KINDS = ["api-key", "jwt", "session", "external"] as const satisfies readonly CredentialKind[];

/** A page of the app, such as `/login`. */
const localPathSchema = z.string().superRefine((path, context) => {
  if (isLocalPath(path)) return;
  addIssue(context, {
    code: "wrong-value",
    message: "This is not a path of this origin.",
    remedy:
      "Write an absolute path, such as /login. For a page on another origin, redirect there from a route of yours.",
  });
});

const guardSchema = settingsObject({
  /** Scopes that the caller must have, all of them. Default: none. */
  scopes: z.array(scopeSchema).default([]),
  /** Roles of which the caller must have at least one. Default: none. */
  roles: z.array(roleSchema).default([]),
  /** Kinds of credential that are accepted. Default: all. */
  kinds: z.array(z.enum(KINDS)).min(1).optional(),
  /**
   * Page on which to log in: a path of this origin, such as `/login`. Instead of 401, a GET request that prefers HTML gets
   * 303 to it, with the requested path and query in the parameter `returnTo`. Default: none.
   */
  redirectTo: localPathSchema.optional(),
});

/** What a guard requires of the caller. */
export interface GuardSettings extends z.input<typeof guardSchema> {}

interface GuardPolicy {
  readonly kinds: readonly CredentialKind[];
  readonly scopes: readonly string[];
  readonly roles: readonly string[];
}

/** Decides whether a guard accepts the caller and, if not, why. Pure. */
export function decideGuard(
  principal: Principal | undefined,
  policy: GuardPolicy,
): "pass" | "missing" | "other-kind" | "scope" | "role" {
  if (principal === undefined) return "missing";
  if (!policy.kinds.includes(principal.kind)) return "other-kind";
  if (policy.scopes.length > 0 && missingScopes(principal.scopes, policy.scopes).length > 0) return "scope";
  if (policy.roles.length > 0 && !policy.roles.some((role) => principal.roles.includes(role))) return "role";
  return "pass";
}

/** How to fix a route whose guard depends on a protection that did not run. */
const REMEDIES: Record<CredentialKind, string> = {
  "api-key": "applySecurity(app, { apiKeys: {} }) or app.use(apiKeyAuth(service))",
  jwt: "applySecurity(app, { jwt: {} }) or app.use(jwtAuth(manager))",
  session: "applySecurity(app, { session: {} }) or app.use(sessions({ secret }))",
  external: "security.usePrincipal(req, …)",
};

function notRun(kinds: readonly CredentialKind[]): Refusal {
  const lines = kinds.map((kind) => REMEDIES[kind]).join(", or ");
  return {
    code: "protection-not-run",
    reason: kinds.join(","),
    detail: `The protection that this guard needs did not run on this request. To fix this, call ${lines} before this route. If that line is already there, two versions of portcullis are installed: keep one (npm ls portcullis).`,
  };
}

/** RFC 9110 section 11.6.1: one challenge for each kind of credential that this guard accepts. */
function challenges(
  kinds: readonly CredentialKind[],
  error?: "insufficient_scope",
  scopes?: readonly string[],
): string {
  const list: string[] = [];
  if (kinds.includes("api-key") || kinds.includes("jwt")) list.push(challenge("Bearer", { error, scopes }));
  if (kinds.includes("api-key")) list.push(challenge("ApiKey"));
  if (kinds.includes("session")) list.push(challenge("Session"));
  if (kinds.includes("external")) list.push(challenge("External"));
  return list.join(", ");
}

type GuardRefusals = Readonly<Record<Exclude<ReturnType<typeof decideGuard>, "pass">, Refusal>>;

/**
 * @param kinds the kinds that the guard accepts and this app can verify; a challenge for another kind would be
 * useless
 */
function guardRefusals(kinds: readonly CredentialKind[], scopes: readonly string[]): GuardRefusals {
  const missing = { code: "missing-credentials", headers: { "WWW-Authenticate": challenges(kinds) } } as const;
  const insufficient = {
    code: "insufficient-scope",
    headers: { "WWW-Authenticate": challenges(kinds, "insufficient_scope", scopes) },
  } as const;
  return {
    missing: { ...missing, reason: "none" },
    "other-kind": { ...missing, reason: "other-kind" },
    scope: { ...insufficient, reason: "scope" },
    role: { ...insufficient, reason: "role" },
  };
}

function guard(
  name: string,
  only: readonly CredentialKind[] | undefined,
  options: GuardSettings | undefined,
  deps: PartDependencies | undefined,
): Middleware {
  const { scopes, roles, kinds: given, redirectTo } = parseFactory(name, guardSchema, options ?? {});
  const runtime = deps === undefined ? undefined : partRuntime(deps);
  const kinds = only ?? given ?? KINDS;
  const policy: GuardPolicy = { kinds, scopes, roles };
  const refusals = new Map<string, GuardRefusals>();
  const unwired = notRun(kinds);
  const needsAll = only !== undefined || given !== undefined;

  const handler: RequestHandler = (req, res, next) => {
    if (runtime !== undefined) beginState(req, runtime);
    if (!protectionsRan(req, kinds, needsAll)) return void refuse(req, res, name, unwired);
    const verdict = decideGuard(req.principal, policy);
    if (verdict === "pass") return next();
    const state = stateOf(req);
    const offered = kinds.filter((kind) => state.hasRun(kind));
    const key = offered.join();
    let made = refusals.get(key);
    if (made === undefined) refusals.set(key, (made = guardRefusals(offered, scopes)));
    const redirect = redirectTo === undefined ? undefined : logInPage(redirectTo, req, verdict);
    refuse(req, res, name, redirect === undefined ? made[verdict] : { ...made[verdict], redirect });
  };
  return Object.defineProperty(handler, "name", { value: name }) as Middleware;
}

/**
 * Where a browser is sent to log in, with the path to come back to. Only for a page that a caller without credentials
 * asked for: a form or a script cannot follow, and a caller without the scope would come back at once.
 */
function logInPage(redirectTo: string, req: Request, verdict: keyof GuardRefusals): string | undefined {
  if (req.method !== "GET" || (verdict !== "missing" && verdict !== "other-kind") || !prefersHtml(req))
    return undefined;
  const { originalUrl } = req;
  const isItself = pathIn(originalUrl) === pathIn(redirectTo);
  return isItself ? undefined : withReturnTo(redirectTo, originalUrl);
}

function pathIn(url: string): string {
  const query = url.indexOf("?");
  return query === -1 ? url : url.slice(0, query);
}

/** Kinds of credentials have the same names as the protections that verify them. */
function protectionsRan(req: Request, kinds: readonly CredentialKind[], all: boolean): boolean {
  const state = stateOf(req);
  return all ? kinds.every((kind) => state.hasRun(kind)) : kinds.some((kind) => state.hasRun(kind));
}

/**
 * Accepts authenticated callers, with any credential or with one of `kinds`. Other callers get 401
 * `missing-credentials`; a caller without the scopes (all) or roles (at least one) gets 403 `insufficient-scope`.
 * Answers 500 `protection-not-run`, naming the line to add, when no protection that could authenticate the caller ran
 * on the request.
 *
 * @param deps `{ events?, onRefusal? }`; each one that is absent is taken from the layer that ran before the guard
 * @throws SettingsError when the options are wrong
 *
 * @example
 * ```ts
 * import express from "express";
 * import { requireAuth } from "portcullis";
 *
 * const app = express();
 * app.get("/reports", requireAuth({ scopes: ["reports:read"], kinds: ["api-key", "jwt"] }), (req, res) => void res.json([]));
 * ```
 */
export function requireAuth(options?: GuardSettings, deps?: PartDependencies): Middleware {
  return guard("requireAuth", undefined, options, deps);
}

/**
 * `requireAuth` for API keys only.
 *
 * @throws SettingsError when the options are wrong
 *
 * @example
 * ```ts
 * import express from "express";
 * import { requireApiKey } from "portcullis";
 *
 * const app = express();
 * app.get("/orders", requireApiKey({ scopes: ["orders:write"] }), (req, res) => void res.json({ caller: req.principal?.id }));
 * ```
 */
export function requireApiKey(options?: Omit<GuardSettings, "kinds">, deps?: PartDependencies): Middleware {
  return guard("requireApiKey", ["api-key"], options, deps);
}

/**
 * `requireAuth` for JWT access tokens only.
 *
 * @throws SettingsError when the options are wrong
 *
 * @example
 * ```ts
 * import express from "express";
 * import { requireJwt } from "portcullis";
 *
 * const app = express();
 * app.get("/orders", requireJwt({ roles: ["admin"] }), (req, res) => void res.json({ caller: req.principal?.id }));
 * ```
 */
export function requireJwt(options?: Omit<GuardSettings, "kinds">, deps?: PartDependencies): Middleware {
  return guard("requireJwt", ["jwt"], options, deps);
}

/**
 * `requireAuth` for logged-in sessions only.
 *
 * @throws SettingsError when the options are wrong
 *
 * @example
 * ```ts
 * import express from "express";
 * import { requireSession } from "portcullis";
 *
 * const app = express();
 * app.get("/orders", requireSession(), (req, res) => void res.json({ caller: req.principal?.id }));
 * ```
 */
export function requireSession(options?: Omit<GuardSettings, "kinds">, deps?: PartDependencies): Middleware {
  return guard("requireSession", ["session"], options, deps);
}
