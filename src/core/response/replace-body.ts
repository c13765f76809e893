import { validateHeaderValue } from "node:http";
import type { Request } from "express";
import { isLocalPath } from "../http/local-path.js";
import { inTime, isThenable, LATE } from "../in-time.js";
import type { MaybePromise } from "../maybe-promise.js";
import type { OnRefusal, Problem, RefusalRedirect, ReplacedBody } from "./problem.js";

/** How long a promise of `onRefusal` may take, in milliseconds. Then the default body is sent. */
const PATIENCE_MS = 250;

/** What the app sends instead of the default body; `undefined` for the default body. */
export type Replacement = ReplacedBody | RefusalRedirect | undefined;

/**
 * Calls `onRefusal`. Never throws or rejects: a warning tells the app that its function failed, and the default body is
 * sent.
 *
 * @param waits whether a promise may be waited for
 */
export function replaceBody(
  onRefusal: OnRefusal,
  problem: Problem,
  req: Request,
  waits: boolean,
): MaybePromise<Replacement> {
  try {
    const given: unknown = onRefusal(problem, req);
    if (!isThenable(given)) return checked(given);
    const settled = inTime(given, PATIENCE_MS).then(checked).catch(warn);
    return waits ? settled : undefined;
  } catch (error) {
    return warn(error);
  }
}

/**
 * Checks that the answer can be sent, so that sending it does not throw half-way through a response.
 *
 * @throws TypeError when it cannot be sent, or would redirect to another origin
 * @throws Error when it came too late
 */
function checked(given: unknown): Replacement {
  if (given === LATE) throw new Error(`it took longer than ${PATIENCE_MS} ms`);
  if (given === undefined || given === null) return undefined;
  const { contentType, body, redirect } = given as Partial<ReplacedBody & RefusalRedirect>;
  if (redirect !== undefined) {
    if (!isLocalPath(redirect)) throw new TypeError("redirect must be a path of this origin, such as /login");
    return { redirect };
  }
  if (typeof contentType !== "string" || !(typeof body === "string" || Buffer.isBuffer(body))) {
    throw new TypeError(
      "it must return { contentType: string, body: string or Buffer }, { redirect: string } or undefined, or a promise of one of them",
    );
  }
  validateHeaderValue("Content-Type", contentType);
  return { contentType, body };
}

function warn(error: unknown): undefined {
  process.emitWarning(
    `onRefusal failed, and the default body was sent: ${error instanceof Error ? error.message : "not an Error"}`,
    { code: "PORTCULLIS_ON_REFUSAL" },
  );
}
