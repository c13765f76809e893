import type { Request } from "express";
import { isFromTrustedProxy } from "../core/http/authority.js";
import type { RequestState } from "../core/request-state.js";
import { requestContext } from "../core/request-events.js";

/**
 * Looks for X-Forwarded-For from a peer that `trust proxy` does not trust. A client may have forged it. But when it
 * comes from a proxy of the app's own, all clients share the proxy's address, and so one limit. Announced once, by an event and a warning.
 */
export function untrustedProxyWatch(source: string): (req: Request, state: RequestState) => void {
  let isReported = false;
  return (req, state) => {
    // An address that differs from the peer's proves trust at once; an equal one may still come from a trusted peer.
    if (isReported || req.headers["x-forwarded-for"] === undefined || state.isForwarded(req) || isFromTrustedProxy(req))
      return;
    isReported = true;
    process.emitWarning(
      "X-Forwarded-For came from an address that is not a trusted proxy. If it is your proxy, all its clients share one rate limit: set trustProxy to the number of proxies in front of the app (1) or to their addresses.",
      { code: "PORTCULLIS_TRUST_PROXY" },
    );
    state.runtime.events.emit("portcullis_untrusted_proxy", () => ({
      source,
      reason: "x-forwarded-for-not-trusted",
      ...requestContext(req),
    }));
  };
}
