import { isIP, isIPv4 } from "node:net";
import { ipKeyGenerator } from "express-rate-limit";
import ipaddr from "ipaddr.js";

/**
 * One spelling for one address: no port (some proxies write `IP:port`), no zone, no brackets, IPv4-mapped IPv6 as IPv4,
 * IPv6 in canonical form. `undefined` when the text is no address. The bits decide, not the notation: `::ffff:1.2.3.4`,
 * `::ffff:102:304` and `1.2.3.4` are one client (GHSA-46wh-pxpv-q5gq).
 */
export function normaliseAddress(text: string | undefined): string | undefined {
  if (text === undefined || text.length > 64) return undefined;
  if (isIPv4(text)) return text;
  const bare = stripPortAndZone(text);
  if (isIPv4(bare)) return bare;
  if (isIP(bare) !== 6) return undefined;
  return ipaddr.process(readableIPv6(bare)).toString();
}

/**
 * An IPv6 address as ipaddr.js reads it rightly: that package takes the deprecated `::1.2.3.4` (RFC 4291 section 2.5.5.1) for
 * `::ffff:1.2.3.4`, and so a stranger for an IPv4 client. The URL standard writes no dotted quads.
 */
export function readableIPv6(bare: string): string {
  return bare.includes(".") ? new URL(`http://[${bare}]`).hostname.slice(1, -1) : bare;
}

function stripPortAndZone(text: string): string {
  let bare = text;
  const bracketed = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(bare);
  if (bracketed?.[1] !== undefined) bare = bracketed[1];
  else if (/^[\d.]+:\d{1,5}$/.test(bare)) bare = bare.slice(0, bare.indexOf(":"));
  const zone = bare.indexOf("%");
  return zone === -1 ? bare : bare.slice(0, zone);
}

/**
 * The address of the client by trusted data only, normalised.
 *
 * @param ip Express's `req.ip`, which goes by the app's `trust proxy`
 * @param peer the socket's, for when what the proxy passed on is no address
 */
export function clientAddress(ip: string | undefined, peer: string | undefined): string {
  return normaliseAddress(ip) ?? normaliseAddress(peer) ?? "unknown";
}

/**
 * The key a limit counts an address under: IPv4 whole, IPv6 by its subnet, since one household owns a whole subnet and
 * may change address with every request.
 *
 * @param ipv6Subnet prefix length, 32–64
 */
export function addressKey(address: string, ipv6Subnet: number): string {
  return isIP(address) === 6 ? ipKeyGenerator(address, ipv6Subnet) : address;
}
