import type { Request, Response } from "express";
import type { Announce } from "./mistakes.js";

/** Returns whether a response is a failure that counts. */
export type RateLimitFailureFunction = (req: Request, res: Response) => boolean;

/**
 * Calls back once a response is sent, with whether it was a failure, or once its connection has ended before: that is
 * a failure too, whatever the status, because a client could otherwise take every answer back by hanging up.
 *
 * @param isFailure must not throw
 */
export function whenAnswered(
  req: Request,
  res: Response,
  isFailure: RateLimitFailureFunction,
  settle: (failed: boolean) => void,
): void {
  let isSettled = false;
  const once = (failed: () => boolean): void => {
    if (isSettled) return;
    isSettled = true;
    settle(failed());
  };
  // A store may answer after the client has hung up: nothing would tell so any more.
  if (res.closed || req.socket.destroyed) return once(() => true);
  res.once("finish", () => once(() => req.socket.destroyed || isFailure(req, res)));
  res.once("close", () => once(() => true));
  // The response to a pipelined request whose turn has not come is not told that the connection has ended.
  req.once("close", () => {
    if (req.socket.destroyed) once(() => true);
  });
}

/**
 * The app's own test for failures, or status 400 and above. A function that throws or gives no boolean makes the
 * response a failure, and the mistake is announced once.
 */
export function failureTest(own: RateLimitFailureFunction | undefined, announce: Announce): RateLimitFailureFunction {
  if (own === undefined) return (_req, res) => res.statusCode >= 400;
  return (req, res) => {
    let answer: unknown;
    try {
      answer = own(req, res);
    } catch (error) {
      announce("failure-function-threw", error);
      return true;
    }
    if (typeof answer === "boolean") return answer;
    if (answer instanceof Promise) answer.catch(() => undefined);
    announce("failure-function-gave-no-boolean");
    return true;
  };
}
