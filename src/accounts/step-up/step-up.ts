import type { Middleware } from "../../core/middleware.js";
import type { AccountsContext, AccountsPart } from "../context.js";
import type { ProvePassword } from "../passwords/prove-again.js";
import { freshGuard, type FreshSettings } from "./guard.js";
import { reauthentication } from "./reauthenticate.js";

/** Freshness: the guard that asks for it, and the route that makes it. */
export function createStepUp(
  context: AccountsContext,
  provePassword: ProvePassword | undefined,
): AccountsPart & { requireFresh(options?: FreshSettings): Middleware } {
  return { requireFresh: freshGuard(context), routes: [reauthentication(context, provePassword)] };
}
