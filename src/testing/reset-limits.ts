import { SetupError } from "../core/setup-error.js";
import { RESET_LIMITS } from "../core/test-access.js";

/**
 * Starts all rate limits of a secured app afresh, those of routes and of failed API keys too. Call it between tests.
 *
 * @param security what `applySecurity` returned
 * @throws SetupError when it is something else, or the limits are not in memory
 *
 * @example
 * ```ts
 * import express from "express";
 * import { applySecurity } from "portcullis";
 * import { resetLimits } from "portcullis/testing";
 *
 * const security = applySecurity(express(), { debug: true, rateLimit: { limit: 5 } });
 * resetLimits(security);
 * ```
 */
export function resetLimits(security: object): void {
  const reset: unknown = (security as { readonly [RESET_LIMITS]?: unknown })[RESET_LIMITS];
  if (typeof reset !== "function") throw new SetupError("resetLimits needs the object that applySecurity returned.");
  (reset as () => void)();
}
