import type { NextFunction, Request, Response } from "express";
import type { Middleware } from "../core/middleware.js";
import type { Layer } from "../core/layer.js";
import { standalone } from "../core/pipeline.js";
import { beginState } from "../core/request-state.js";
import { finishHeadOf } from "../core/response/finish-head.js";
import { type PartDependencies, partRuntime, type Runtime } from "../core/runtime.js";
import { SettingsError } from "../settings/errors.js";
import { parseFactory } from "../settings/object.js";
import { decideHeaders, patchHeaders } from "./decide.js";
import { modelProblems } from "./model-lint.js";
import { compilePlan, type HeaderPlan } from "./plan.js";
import { planOf, writeHeaders } from "./response.js";
import {
  headersPatchSchema,
  type ResolvedHeadersSettings,
  type HeadersPatch,
  type ResolvedHeadersPatch,
  type HeadersSettings,
} from "./settings.js";
import { headersSchema } from "./schema.js";

/** The headers layer. */
export interface HeadersLayer extends Layer {
  /**
   * A handler for a route or router that changes the headers of its responses: sources are added to the policies, other
   * headers replaced, `false` removes one. Patches add up in the order they run.
   *
   * @throws SettingsError when the patch is wrong, or contradicts the layer's settings
   */
  patch(settings: HeadersPatch): Middleware;
}

/**
 * Security headers on every response: see `src/headers/README.md`.
 *
 * @param settings nothing for the defaults
 * @param deps `{ events?, clock?, onRefusal? }`, so that the part can be observed and tested
 * @throws SettingsError listing everything that is wrong with the settings
 *
 * @example
 * ```ts
 * import express from "express";
 * import { securityHeaders } from "portcullis";
 *
 * const app = express();
 * app.use(securityHeaders({ contentSecurityPolicy: { directives: { "script-src": ["'self'", "'nonce'"] } } }));
 * ```
 */
export function securityHeaders(settings?: HeadersSettings, deps?: PartDependencies): Middleware {
  const runtime = partRuntime(deps);
  return standalone([createHeaders(parseFactory("securityHeaders", headersSchema, settings ?? {}), runtime)], runtime);
}

/** The layer, from parsed options. Computes all header values here, once. */
export function createHeaders(options: ResolvedHeadersSettings, runtime: Runtime): HeadersLayer {
  const plan = compilePlan(decideHeaders(options, runtime.debug));

  return {
    id: "headers",
    mode: options.mode,
    run: function securityHeadersMiddleware(req, res, next, state) {
      writeHeaders(res, state.headersOf(res), plan, req.secure);
      next();
    },
    describe: () => describePlan(options, plan),
    patch: (settings) => createPatch(parseFactory("security.headers", headersPatchSchema, settings), plan, runtime),
  };
}

function createPatch(patch: ResolvedHeadersPatch, base: HeaderPlan, runtime: Runtime): Middleware {
  const onBase = patchHeaders(base.model, patch, runtime.debug);
  const issues = modelProblems(onBase).map((problem) => ({ ...problem, path: problem.path.join(".") }));
  if (issues.length > 0) throw new SettingsError(issues);
  // A route with several patches gets the plans of other patches. Each is compiled once, so their number is that of the
  // chains of patches on routes.
  const patchedPlans = new WeakMap<HeaderPlan, HeaderPlan>([[base, compilePlan(onBase)]]);

  function planAfter(before: HeaderPlan): HeaderPlan {
    const known = patchedPlans.get(before);
    if (known !== undefined) return known;
    const made = compilePlan(patchHeaders(before.model, patch, runtime.debug));
    patchedPlans.set(before, made);
    return made;
  }

  const handler = function headersPatchMiddleware(req: Request, res: Response, next: NextFunction): void {
    const state = beginState(req, runtime);
    state.markRan("headers");
    finishHeadOf(res, state);
    const headers = state.headersOf(res);
    // Where the layer itself did not run, this writes its headers as well: a patch never applies alone.
    writeHeaders(res, headers, planAfter(planOf(headers) ?? base), req.secure);
    next();
  };
  return handler as Middleware;
}

function describePlan(options: ResolvedHeadersSettings, plan: HeaderPlan): Record<string, unknown> {
  const headers: Record<string, string> = Object.fromEntries(plan.values);
  for (const { name, parts } of plan.nonced) headers[name] = parts.join("'nonce-…'");
  return { mode: options.mode, headers };
}
