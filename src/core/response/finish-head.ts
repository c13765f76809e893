import type { Response } from "express";
import { applyHead } from "./apply-head.js";
import { forbidStoring, keepPrivate } from "./cache-control.js";
import { FINAL_POLICY, isExpressPage } from "./express-pages.js";
import type { RequestState } from "../request-state.js";

/**
 * Finishes the head of a response at the moment it is written. What the app puts around `writeHead` later (a cache, listeners of
 * on-headers) runs before, so it neither sees the session cookie nor undoes what is decided here. Done once for a response.
 */
export function finishHeadOf(res: Response, state: RequestState): void {
  const headers = state.headersOf(res);
  if (headers.isFinished) return;
  headers.isFinished = true;
  const writeHead = res.writeHead as (...args: unknown[]) => Response;
  res.writeHead = function finishedWriteHead(this: Response, ...args: unknown[]): Response {
    const [status] = args;
    if (this.headersSent || typeof status !== "number") return writeHead.apply(this, args);
    // What is given here counts as set before, or it would be added after the last word.
    if (args.length > 1) applyHead(this, args);
    else this.statusCode = status;
    finish(this, state);
    return writeHead.call(this, status);
  } as Response["writeHead"];
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
    if (res.getHeader("X-Powered-By") === "Express") res.removeHeader("X-Powered-By");
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
