import { SetupError } from "./setup-error.js";

/**
 * Where `portcullis/testing` finds the function that resets all limits of a secured app. Registered, because the two
 * modules of a package can be copies of each other (ESM and CommonJS).
 */
export const RESET_LIMITS: unique symbol = Symbol.for("portcullis.reset-limits") as never;

/** Resets all counts in these stores. @throws SetupError when they are not in memory */
export function resetAll(...limits: readonly (object | undefined)[]): void {
  for (const store of new Set(limits)) {
    if (store === undefined) continue;
    const { resetAll: reset } = store as { resetAll?: () => unknown };
    if (typeof reset !== "function")
      throw new SetupError(
        "These limits cannot be reset: their store has no resetAll. In tests, keep limits in memory, or use another redisPrefix for each.",
      );
    reset.call(store);
  }
}
