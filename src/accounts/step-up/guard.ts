import type { RequestHandler } from "express";
import { z } from "zod";
import { AUTHENTICATION_METHODS, type AuthenticationMethodName } from "../../core/authentication.js";
import { prefersHtml } from "../../core/http/accept.js";
import { isLocalPath, withReturnTo } from "../../core/http/local-path.js";
import type { Middleware } from "../../core/middleware.js";
import type { Principal } from "../../core/principal.js";
import { refuse } from "../../core/response/refuse.js";
import { requireAuth } from "../../guards.js";
import { durationSchema } from "../../settings/durations.js";
import { addIssue, parseFactory, settingsObject } from "../../settings/object.js";
import type { AccountsContext } from "../context.js";
import { NOT_IN_PERSON } from "../refusals.js";
import { type FreshPolicy, isFresh } from "./decide.js";
import { offeredMethods, staleRefusal } from "./stale.js";

const SOURCE = "requireFresh";

const methodSchema = z.enum(AUTHENTICATION_METHODS).superRefine((method, context) => {
  if (method !== "key" && method !== "token") return;
  addIssue(context, {
    code: "wrong-value",
    message: "A key and a token prove no person, so they are never fresh.",
    remedy: 'Write methods of people: "pwd", "totp", "webauthn", "recovery" or "federated".',
  });
});

const freshSchema = settingsObject({
  /** How long ago the proof may be, in seconds: 60 to 86400. Default: `freshSeconds` of the settings. */
  withinSeconds: durationSchema("seconds", 60, 86_400).optional(),
  /**
   * Sets of methods: all methods of one set must have been proved within that time, as in `[["webauthn"], ["pwd",
   * "totp"]]`. Default: a second factor for people who have logged in with one, otherwise any method.
   */
  anyOf: z.array(z.array(methodSchema).min(1)).min(1).optional(),
  /**
   * Page on which to prove it again: a path of this origin. Instead of 401, a GET request that prefers HTML gets 303 to it,
   * with the requested path and query in the parameter `returnTo`. Default: none.
   */
  redirectTo: z
    .string()
    .superRefine((path, context) => {
      if (isLocalPath(path)) return;
      addIssue(context, {
        code: "wrong-value",
        message: "This is not a path of this origin.",
        remedy: "Write an absolute path, such as /reauthenticate.",
      });
    })
    .optional(),
});

/** What `requireFresh` asks for. */
export interface FreshSettings extends z.input<typeof freshSchema> {}

/** Makes the guard of one app; see `Accounts.requireFresh`. */
export function freshGuard(context: AccountsContext): (options?: FreshSettings) => Middleware {
  const { settings, host } = context;
  const { runtime } = host;
  const offered: readonly AuthenticationMethodName[] = offeredMethods(settings);
  return function requireFresh(options) {
    const given = parseFactory("accounts.requireFresh", freshSchema, options ?? {});
    const { redirectTo } = given;
    const policy: FreshPolicy = { withinSeconds: given.withinSeconds ?? settings.freshSeconds, anyOf: given.anyOf };
    const authenticated = requireAuth(redirectTo === undefined ? {} : { redirectTo }, runtime);
    const handler: RequestHandler = (req, res, next) => {
      authenticated(req, res, (error) => {
        if (error !== undefined) return next(error);
        const principal = req.principal as Principal;
        if (isFresh(principal, policy, runtime.clock.now())) return next();
        // Nothing that they could prove would help.
        if (principal.kind === "api-key" || principal.actor !== undefined)
          return void refuse(req, res, SOURCE, NOT_IN_PERSON);
        const refusal = staleRefusal(principal, policy, offered);
        const isPage = redirectTo !== undefined && req.method === "GET" && prefersHtml(req);
        const redirect = isPage ? withReturnTo(redirectTo, req.originalUrl) : undefined;
        refuse(req, res, SOURCE, redirect === undefined ? refusal : { ...refusal, redirect });
      });
    };
    return Object.defineProperty(handler, "name", { value: SOURCE }) as Middleware;
  };
}
