import type { Request } from "express";
import { inTime, isThenable, LATE } from "../core/in-time.js";
import type { MaybePromise } from "../core/maybe-promise.js";
import type { RateLimitFunction } from "./limit-settings.js";
import type { Announce } from "./mistakes.js";

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
  announce: Announce,
): (req: Request) => MaybePromise<number> {
  const instead = (reason: Parameters<Announce>[0], error?: unknown): number => {
    announce(reason, error);
    return Math.min(INSTEAD, maxLimit);
  };
  const checked = (units: unknown): number =>
    typeof units === "number" && Number.isInteger(units) && units >= 0
      ? Math.min(units, maxLimit)
      : instead("limit-function-gave-no-limit");
  return (req) => {
    let given: unknown;
    try {
      given = limit(req);
    } catch (error) {
      return instead("limit-function-threw", error);
    }
    if (!isThenable(given)) return checked(given);
    return inTime(given, timeoutMs).then(
      (units) => (units === LATE ? instead("limit-function-late") : checked(units)),
      (error: unknown) => instead("limit-function-rejected", error),
    );
  };
}
