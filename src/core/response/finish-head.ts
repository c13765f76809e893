import { ServerResponse } from "node:http";
import type { Response } from "express";
import { applyHead } from "./apply-head.js";
import { forbidStoring, keepPrivate } from "./cache-control.js";
import { FINAL_POLICY, isExpressPage } from "./express-pages.js";
import type { RequestState } from "../request-state.js";

/** On an unwrapped response of Node: the state that finishes its headers. */
const FINISHED_BY = Symbol("portcullis.finished-by");

type WriteHead = (this: Response, ...args: unknown[]) => Response;

interface Finished extends Response {
  [FINISHED_BY]?: RequestState;
}

/**
 * Finishes the headers of a response at the moment they are written. Functions that the app later wraps around
 * `writeHead` (a cache, listeners of on-headers) run before, so they neither see the session cookie nor undo the
 * changes made here. Runs once for a response.
 *
 * Unwrapped responses of Node share one function: a closure for each response costs 6 to 9 µs more (test/bench/README.md).
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
    // The response is from a serverless adapter, was wrapped before, or is also finished by the state of another
    // request.
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
  // Headers passed here are set first, or they would be added after the final changes.
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
    // A mounted app sets this header again.
    if (res.getHeader("x-powered-by") === "Express") res.removeHeader("X-Powered-By");
    // A 304 updates the headers of a stored page, whose body has the nonce of its time (RFC 9111 section 4.3.4).
    if (res.statusCode === 304) policies.removeNonced();
  } else if (isExpressPage(res, headers)) headers.restore(res);
  const due = headers.takeCookies();
  if (due !== undefined) {
    for (const { name, line } of due.cookies) putCookie(res, name, line);
    if (due.hasCredential) return forbidStoring(res);
  }
  if (state.isPrivate) keepPrivate(res);
}

/** Sets a cookie once per response, beside the app's own cookies. */
function putCookie(res: Response, name: string, line: string): void {
  const before = res.getHeader("Set-Cookie");
  const lines = before === undefined ? [] : Array.isArray(before) ? before : [String(before)];
  res.setHeader("Set-Cookie", [...lines.filter((other) => !other.startsWith(`${name}=`)), line]);
}
