import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { isTranslated, normaliseAddress, readableIPv6 } from "./client-address.js";

/** An address or CIDR that cannot be read, with the reason. */
export type AddressRangeProblem = "not-an-address" | "bad-prefix";

/** Why `text` is not an address or CIDR range, or `undefined` when it is one. */
export function addressRangeProblem(text: string): AddressRangeProblem | undefined {
  const slash = text.indexOf("/");
  const address = slash === -1 ? text : text.slice(0, slash);
  const family = isIP(address);
  if (family === 0 || address.includes("%")) return "not-an-address";
  if (slash === -1) return undefined;
  const prefix = text.slice(slash + 1);
  if (!/^(?:0|[1-9]\d{0,2})$/.test(prefix) || Number(prefix) > (family === 4 ? 32 : 128)) return "bad-prefix";
  return undefined;
}

/** Where IPv4 lies within IPv6: ::ffff:0:0/96 (RFC 4291 section 2.5.5.2). */
const MAPPED_PREFIX = 96;
const MAPPED = 0xffffn;

/**
 * Matches addresses that `normaliseAddress` may spell differently: a zone, a dotted quad, or a prefix that contains
 * IPv4.
 */
const MAYBE_NOT_NORMAL = /[%.]|^(?:0*:|0*64:ff9b:)/i;

/**
 * A list of addresses and CIDR ranges. Built once. A look-up checks each prefix length in use once, however many
 * ranges there are; before Node 24, `net.BlockList` checks the ranges one by one.
 */
export class AddressList {
  readonly #exact = new Set<string>();
  /** By prefix length, the leading bits of the ranges. */
  readonly #ipv4 = new Map<number, Set<number>>();
  readonly #ipv6 = new Map<number, Set<bigint>>();

  /** @throws RangeError when an entry is neither an address nor a CIDR range; first check with `addressRangeProblem` */
  constructor(entries: readonly string[]) {
    for (const entry of entries) {
      if (addressRangeProblem(entry) !== undefined) throw new RangeError("This is not an IP address or a CIDR range.");
      const slash = entry.indexOf("/");
      if (slash === -1) this.#exact.add(normaliseAddress(entry) ?? entry);
      else this.#addRange(entry.slice(0, slash), Number(entry.slice(slash + 1)));
    }
  }

  /** Accepts any notation of an address; that of `normaliseAddress` is the fastest. */
  has(address: string): boolean {
    if (this.#exact.has(address)) return true;
    if (this.#ipv4.size === 0 && this.#ipv6.size === 0) return false;
    const family = isIP(address);
    if (family === 4) return includes(this.#ipv4, ipv4Bits, ipv4Value(address));
    if (family !== 6) return false;
    if (MAYBE_NOT_NORMAL.test(address)) {
      const normal = normaliseAddress(address) ?? "";
      if (normal !== address) return this.has(normal);
    }
    return includes(this.#ipv6, ipv6Bits, ipv6Value(address));
  }

  #addRange(address: string, prefix: number): void {
    if (isIP(address) === 4) {
      add(this.#ipv4, prefix, ipv4Bits(ipv4Value(address), prefix));
      return;
    }
    const parsed = ipaddr.parse(readableIPv6(address)) as ipaddr.IPv6;
    const value = ipv6Value(parsed.toNormalizedString());
    add(this.#ipv6, prefix, ipv6Bits(value, prefix));
    // A range of translated addresses also counts as its IPv4 range. The whole prefix of a translator does not: it
    // contains every IPv4 client.
    if (prefix > MAPPED_PREFIX && isTranslated(parsed.parts)) {
      add(this.#ipv4, prefix - MAPPED_PREFIX, ipv4Bits(Number(value & 0xffffffffn), prefix - MAPPED_PREFIX));
      return;
    }
    // IPv4 addresses are looked up as IPv4, so an IPv6 range that contains some of them also counts as their IPv4
    // range.
    const shared = Math.min(prefix, MAPPED_PREFIX);
    if (ipv6Bits(value, shared) !== ipv6Bits(MAPPED << 32n, shared)) return;
    const inIpv4 = Math.max(0, prefix - MAPPED_PREFIX);
    add(this.#ipv4, inIpv4, ipv4Bits(Number(value & 0xffffffffn), inIpv4));
  }
}

/** One address of every unicast IPv4 /8, and of every /8 of the IPv6 networks that are assigned (2000::/3). */
const SAMPLES = [
  Array.from({ length: 223 }, (_, i) => `${i + 1}.1.2.3`),
  Array.from({ length: 32 }, (_, i) => `${(0x20 + i).toString(16)}01:203::1`),
] as const;

/**
 * Whether these ranges together contain a quarter of all IPv4 or IPv6 addresses, or more. A list of one's own
 * networks never does.
 *
 * @throws RangeError as the constructor of `AddressList` does
 */
export function coversInternet(ranges: readonly string[]): boolean {
  const list = new AddressList(ranges);
  return SAMPLES.some((samples) => 4 * samples.filter((address) => list.has(address)).length >= samples.length);
}

function add<Bits>(ranges: Map<number, Set<Bits>>, prefix: number, bits: Bits): void {
  const known = ranges.get(prefix);
  if (known === undefined) ranges.set(prefix, new Set([bits]));
  else known.add(bits);
}

function includes<Bits>(
  ranges: ReadonlyMap<number, ReadonlySet<Bits>>,
  leading: (value: Bits, prefix: number) => Bits,
  value: Bits,
): boolean {
  for (const [prefix, known] of ranges) if (known.has(leading(value, prefix))) return true;
  return false;
}

function ipv4Bits(value: number, prefix: number): number {
  return Math.floor(value / 2 ** (32 - prefix));
}

function ipv6Bits(value: bigint, prefix: number): bigint {
  return value >> BigInt(128 - prefix);
}

function ipv4Value(address: string): number {
  return address.split(".").reduce((value, octet) => value * 256 + Number(octet), 0);
}

/** @param address without a dotted quad or a zone */
function ipv6Value(address: string): bigint {
  const [head = "", tail] = address.split("::");
  const before = words(head);
  const after = words(tail ?? "");
  const zeros = tail === undefined ? "" : "0000".repeat(8 - before.length - after.length);
  return BigInt(`0x${before.join("")}${zeros}${after.join("")}`);
}

function words(text: string): string[] {
  return text === "" ? [] : text.split(":").map((word) => word.padStart(4, "0"));
}
