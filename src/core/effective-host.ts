import type { Request } from "express";
import { hostLines, isFromTrustedProxy } from "./authority.js";

/**
 * Host and port as the client wrote them: X-Forwarded-Host (the first value) when the peer is a proxy the app trusts
 * (`trust proxy`), else the one Host line. `req.host` of Express 5 does the same, but that of Express 4 loses the port.
 * Behind the trusted-host layer only what `forwardedHost` lets through is left, and a forged page cannot send
 * X-Forwarded-Host without a preflight.
 */
export function effectiveHost(req: Request): string | undefined {
  const forwarded = req.headers["x-forwarded-host"];
  if (typeof forwarded === "string" && isFromTrustedProxy(req)) {
    const comma = forwarded.indexOf(",");
    return (comma === -1 ? forwarded : forwarded.slice(0, comma)).trim();
  }
  const lines = hostLines(req);
  return lines.length === 1 ? lines[0] : undefined;
}
