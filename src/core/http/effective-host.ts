import type { Request } from "express";
import { hostLines, isFromTrustedProxy } from "./authority.js";

/**
 * Host and port as the client wrote them: the first value of X-Forwarded-Host when the peer is a proxy that the app
 * trusts (`trust proxy`), otherwise the only Host line. `req.host` of Express 5 does the same, but that of Express 4
 * loses the port. After the trusted-host layer, X-Forwarded-Host is present only if `forwardedHost` allows it, and a
 * forged page cannot send it without a preflight.
 */
export function effectiveHost(req: Request): string | undefined {
  const forwarded = forwardedValue(req, "x-forwarded-host");
  if (forwarded !== undefined) return forwarded;
  const lines = hostLines(req);
  return lines.length === 1 ? lines[0] : undefined;
}

/**
 * The port the client used, when a proxy that the app trusts (`trust proxy`) names it in X-Forwarded-Port: many proxies
 * lose the port in Host. A forged page cannot send the field without a preflight.
 */
export function forwardedPort(req: Request): number | undefined {
  const text = forwardedValue(req, "x-forwarded-port");
  if (text === undefined || !/^[1-9]\d{0,4}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65535 ? port : undefined;
}

/** The first value of a field, from a trusted proxy. */
function forwardedValue(req: Request, name: "x-forwarded-host" | "x-forwarded-port"): string | undefined {
  const value = req.headers[name];
  if (typeof value !== "string" || !isFromTrustedProxy(req)) return undefined;
  const comma = value.indexOf(",");
  return (comma === -1 ? value : value.slice(0, comma)).trim();
}
