import type { Request } from "express";
import type { RequestState } from "../core/request-state.js";
import { requestFacts } from "../core/refusal.js";

/**
 * Looks for X-Forwarded-For from a peer that `trust proxy` does not trust. A client may have made it up; but when it
 * comes from a proxy of the app's own, all clients share the proxy's address, and so one limit. Said once.
 */
export function untrustedProxyWatch(source: string): (req: Request, state: RequestState) => void {
  let said = false;
  return (req, state) => {
    if (said || req.headers["x-forwarded-for"] === undefined || trustsPeer(req)) return;
    said = true;
    state.runtime.events.emit("portcullis_untrusted_proxy", () => ({ source, reason: "x-forwarded-for-not-trusted", ...requestFacts(req) }));
  };
}

function trustsPeer(req: Request): boolean {
  // Express compiles the setting into this function; it is what `req.ip` itself goes by.
  const trust: unknown = req.app?.get("trust proxy fn");
  return typeof trust === "function" && (trust as (address: string | undefined, hop: number) => unknown)(req.socket.remoteAddress, 0) === true;
}
