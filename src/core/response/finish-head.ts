import { ServerResponse } from "node:http";
import type { Response } from "express";
import { applyHead } from "./apply-head.js";
import { forbidStoring, keepPrivate } from "./cache-control.js";
import { FINAL_POLICY, isExpressPage } from "./express-pages.js";
import type { RequestState } from "../request-state.js";

/** On a response that Node made and nobody had wrapped: the state that finishes its head. */
const FINISHED_BY = Symbol("portcullis.finished-by");

type WriteHead = (this: Response, ...args: unknown[]) => Response;

interface Finished extends Response {
  [FINISHED_BY]?: RequestState;
}

/**
 * Finishes the head of a response at the moment it is written. What the app puts around `writeHead` later (a cache, listeners of
 * on-headers) runs before, so it neither sees the session cookie nor undoes what is decided here. Done once for a response.
 *
 * A response of Node's gets one function that all share: a closure for each response costs 9 µs more (test/bench/README.md).
 */
export function finishHeadOf(res: Finished, state: RequestState): void {
  const headers = state.headersOf(res);
  if (headers.isFinished) return;
  headers.isFinished = true;
  const writeHead = res.writeHead as WriteHead;
  if (writeHead === ServerResponse.prototype.writeHead) {
    res[FINISHED_BY] = state;
    res.writeHead = finishedWriteHead as Response["writeHead"];
  } else {
    // Of a serverless adapter, wrapped before, or finished by the state of another request as well.
    res.writeHead = function finishedWriteHead(this: Response, ...args: unknown[]): Response {
      return writeFinished(this, state, writeHead, args);
    } as Response["writeHead"];
  }
}

function finishedWriteHead(this: Finished, ...args: unknown[]): Response {
  return writeFinished(this, this[FINISHED_BY] as RequestState, ServerResponse.prototype.writeHead as WriteHead, args);
}

function writeFinished(res: Response, state: RequestState, writeHead: WriteHead, args: unknown[]): Response {
  const [status] = args;
  if (res.headersSent || typeof status !== "number") return writeHead.apply(res, args);
  // What is given here counts as set before, or it would be added after the last word.
  if (args.length > 1) applyHead(res, args);
  else res.statusCode = status;
  finish(res, state);
  return writeHead.call(res, status);
}

function finish(res: Response, state: RequestState): void {
  const headers = state.headersOf(res);
  const { policies } = headers;
  if (policies !== undefined) {
    if (isExpressPage(res, headers)) {
      headers.restore(res);
      if (policies.isEnforced) res.setHeader("Content-Security-Policy", FINAL_POLICY);
    }
    // An app mounted in an app announces itself once more.
    if (res.getHeader("x-powered-by") === "Express") res.removeHeader("X-Powered-By");
    // A 304 renews the headers of a stored page, whose body has the nonce of then (RFC 9111 section 4.3.4).
    if (res.statusCode === 304) policies.removeNonced();
  } else if (isExpressPage(res, headers)) headers.restore(res);
  const due = headers.takeCookies();
  if (due !== undefined) {
    for (const { name, line } of due.cookies) putCookie(res, name, line);
    if (due.hasCredential) return forbidStoring(res);
  }
  if (state.isPrivate) keepPrivate(res);
}

/** One response carries a cookie once, beside the app's own. */
function putCookie(res: Response, name: string, line: string): void {
  const before = res.getHeader("Set-Cookie");
  const lines = before === undefined ? [] : Array.isArray(before) ? before : [String(before)];
  res.setHeader("Set-Cookie", [...lines.filter((other) => !other.startsWith(`${name}=`)), line]);
}
