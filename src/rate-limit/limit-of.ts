import type { Request } from "express";
import type { MaybePromise } from "../core/maybe-promise.js";
import { LateAnswerError, withTimeout } from "../stores/health/timeout.js";
import type { RateLimitFunction } from "./limit-settings.js";

/** The limit of a request for which the function of the app gives none. */
const INSTEAD = 100;

/**
 * The number of units that a function of the app allows. A number returned at once is used at once. When the function
 * throws, rejects, gives no whole number or takes too long, the limit is 100 and the mistake is announced once.
 *
 * @param maxLimit a higher number is cut to it
 * @param timeoutMs how long a promise may take
 */
export function limitOf(
  limit: RateLimitFunction,
  maxLimit: number,
  timeoutMs: number,
  announce: (reason: string) => boolean,
): (req: Request) => MaybePromise<number> {
  const instead = (reason: string): number => {
    announce(reason);
    return Math.min(INSTEAD, maxLimit);
  };
  const checked = (units: unknown): number =>
    typeof units === "number" && Number.isInteger(units) && units >= 0
      ? Math.min(units, maxLimit)
      : instead("limit-function-gave-no-limit");
  const failed = (error: unknown): number =>
    instead(error instanceof LateAnswerError ? "limit-function-late" : "limit-function-rejected");
  return (req) => {
    let given: unknown;
    try {
      given = limit(req);
    } catch {
      return instead("limit-function-threw");
    }
    if (typeof given === "number" || !isThenable(given)) return checked(given);
    return withTimeout(Promise.resolve(given), timeoutMs).then(checked, failed);
  };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}
