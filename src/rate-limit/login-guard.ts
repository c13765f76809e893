import type { RequestHandler } from "express";
import type { Middleware } from "../core/middleware.js";
import type { LimitRefusal } from "../core/pending-limits.js";
import { beginState } from "../core/request-state.js";
import { refuse } from "../core/response/refuse.js";
import type { Runtime } from "../core/runtime.js";
import { parseFactory } from "../settings/object.js";
import { accountOf } from "./login-account.js";
import { type LoginCounters, SOURCE } from "./login-counters.js";
import { type LoginGuardSettings, loginGuardSchema } from "./login-settings.js";
import { warnOnce } from "./mistakes.js";

/**
 * Middleware for a log-in route, before the password is checked: counts the attempt by address, by account and address,
 * and by account, or answers 429. `logIn` in the same request gives the units back; any other end keeps them.
 *
 * @throws SettingsError
 */
export function createLoginGuard(settings: LoginGuardSettings, runtime: Runtime, counters: LoginCounters): Middleware {
  const options = parseFactory("security.loginGuard", loginGuardSchema, settings);
  const account = accountOf(options.account, warnOnce(runtime, SOURCE));
  const handler: RequestHandler = function loginGuard(req, res, next) {
    const state = beginState(req, runtime);
    const go = (refused: LimitRefusal | undefined): void => {
      if (refused === undefined) next();
      else refuse(req, res, refused.source, refused.refusal);
    };
    const answer = counters.attempt(account(req), req, res, state);
    if (answer instanceof Promise) answer.then(go).catch(next);
    else go(answer);
  };
  return handler as Middleware;
}
