import { type Authority, parseAuthority, sameAuthority } from "./authority.js";
import type { Origin } from "./origin.js";

/** The destination of a request. */
export interface Destination {
  /** Host and port as the client wrote them; `undefined` when there is none or more than one. */
  readonly host: string | undefined;
  /** The port in X-Forwarded-Port of a trusted proxy. */
  readonly forwardedPort: number | undefined;
  /** Whether the request came over TLS, by the connection or a trusted proxy. */
  readonly secure: boolean;
}

/**
 * Whether a request comes from a page of the same origin as its destination.
 *
 * A secure origin also matches a plain connection, because TLS may end at a proxy that the app does not know of. A
 * plain origin never matches a secure connection: an attacker on the network can forge that page.
 *
 * @param anyPort compares only host names: the browser has compared the ports, and a proxy may have lost our port
 */
export function isSameOrigin(
  from: Origin,
  { host, forwardedPort, secure }: Destination,
  { anyPort = false } = {},
): boolean {
  const to = host === undefined ? undefined : parseAuthority(host);
  if (to === undefined) return false;
  if (from.scheme !== "https" && (secure || from.scheme !== "http")) return false;
  const own: Authority = { host: withoutClosingDot(from.host), port: from.port };
  if (own.host !== to.host) return false;
  return anyPort || sameAuthority(own, to, from.scheme) || own.port === forwardedPort;
}

function withoutClosingDot(host: string): string {
  return host.endsWith(".") ? host.slice(0, -1) : host;
}
