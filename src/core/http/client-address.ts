import { isIP, isIPv4 } from "node:net";
import ipaddr from "ipaddr.js";
import { loadExpressRateLimit } from "../dependencies.js";

/**
 * Converts an address to its only spelling: no port (some proxies write `IP:port`), no zone, no brackets, IPv4 within
 * IPv6 (mapped, translated, NAT64) as IPv4, IPv6 in canonical form. `undefined` when the text is not an address. The
 * bits decide, not the notation: `::ffff:1.2.3.4`, `::ffff:102:304` and `1.2.3.4` are one client
 * (GHSA-46wh-pxpv-q5gq).
 */
export function normaliseAddress(text: string | undefined): string | undefined {
  if (text === undefined || text.length > 64) return undefined;
  if (isIPv4(text)) return text;
  const bare = stripPortAndZone(text);
  if (isIPv4(bare)) return bare;
  if (isIP(bare) !== 6) return undefined;
  const address = ipaddr.process(readableIPv6(bare));
  return address instanceof ipaddr.IPv6 && isTranslated(address.parts)
    ? address.toByteArray().slice(12).join(".")
    : address.toString();
}

/**
 * Whether a translator wrote an IPv4 address into the last four bytes: 64:ff9b::/96 (RFC 6052), ::ffff:0:0:0/96
 * (RFC 2765), or 64:ff9b:1::/48 (RFC 8215) when those bytes are not zero. Otherwise all IPv4 clients behind a
 * translator would be one IPv6 subnet.
 */
export function isTranslated(parts: readonly number[]): boolean {
  const [a, b, c, d, e, f] = parts;
  if (a === 0x64 && b === 0xff9b)
    return c === 1 ? parts[6] !== 0 || parts[7] !== 0 : c === 0 && d === 0 && e === 0 && f === 0;
  return a === 0 && b === 0 && c === 0 && d === 0 && e === 0xffff && f === 0;
}

/**
 * An IPv6 address in a form that ipaddr.js parses correctly: that package parses the deprecated `::1.2.3.4` (RFC 4291
 * section 2.5.5.1) as `::ffff:1.2.3.4`, and so mistakes another client for an IPv4 client. The URL standard writes no
 * dotted quads.
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
 * The client's normalised address, from trusted data only.
 *
 * @param ip Express's `req.ip`, which follows the app's `trust proxy`
 * @param peer the address of the socket, used when the proxy forwarded no valid address
 */
export function addressOf(ip: string | undefined, peer: string | undefined): string {
  return normaliseAddress(ip) ?? normaliseAddress(peer) ?? "unknown";
}

/** A 6to4 network belongs to one IPv4 address: 2002::/16 and its 32 bits (RFC 3056). */
const SIX_TO_FOUR = /^2002:/;
const SIX_TO_FOUR_PREFIX = 48;

/**
 * The key under which a limit counts an address. IPv4 counts as a whole address. IPv6 counts by its subnet, because
 * one household owns a whole subnet and may change its address with every request. 6to4 counts by the /48 of its IPv4
 * address.
 *
 * @param ipv6Subnet prefix length, 32–64
 */
export function addressKey(address: string, ipv6Subnet: number): string {
  if (isIP(address) !== 6) return address;
  const { ipKeyGenerator } = loadExpressRateLimit();
  return ipKeyGenerator(address, SIX_TO_FOUR.test(address) ? Math.min(ipv6Subnet, SIX_TO_FOUR_PREFIX) : ipv6Subnet);
}
