import { isIPv4, isIPv6 } from "node:net";

/** The parts of an origin (RFC 6454 section 4, HTML "origin"). */
export interface Origin {
  readonly scheme: string;
  /** Lower case; an IPv6 address in its brackets. */
  readonly host: string;
  /** The effective port: 80 or 443 when none was written; 0 for another scheme without one. */
  readonly port: number;
}

/** Maximum length of an origin, in characters: `https://` with the longest DNS name and a port has 268. */
export const MAX_ORIGIN_LENGTH = 320;

const DEFAULT_PORTS: ReadonlyMap<string, number> = new Map([
  ["http", 80],
  ["https", 443],
]);
const SCHEME = /^[a-z][a-z0-9+.-]*$/;
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const PORT = /^[1-9]\d{0,4}$/;

/**
 * Parses a serialised origin (RFC 6454 section 6.2) exactly as a browser writes it: lower case, no userinfo, path,
 * query or default port, one spelling per address. Any other text, `null` included, is `undefined`. Linear, never
 * throws. Names may contain `_` (browsers send it, container networks use it). One trailing dot is kept: with it the
 * name is another origin. The host of a scheme other than http and https may be in capitals and is read in lower
 * case: WebKit writes it as the extension or app has it (Safari: `safari-web-extension://` and a UUID in capitals),
 * Chromium in lower case.
 */
export function parseOrigin(text: string): Origin | undefined {
  if (text.length > MAX_ORIGIN_LENGTH) return undefined;
  const schemeEnd = text.indexOf("://");
  if (schemeEnd === -1) return undefined;
  const scheme = text.slice(0, schemeEnd);
  if (!SCHEME.test(scheme)) return undefined;
  const authority = text.slice(schemeEnd + 3);
  const colon = authority.indexOf(":", authority.startsWith("[") ? authority.indexOf("]") + 1 : 0);
  const usual = DEFAULT_PORTS.get(scheme);
  const written = colon === -1 ? authority : authority.slice(0, colon);
  const host = usual === undefined ? inLowerCase(written) : written;
  // Electron apps have the origins app://- and app://. of a custom scheme.
  if (!isHost(host) && (usual !== undefined || (host !== "-" && host !== "."))) return undefined;
  if (colon === -1) return { scheme, host, port: usual ?? 0 };
  const digits = authority.slice(colon + 1);
  const port = Number(digits);
  return PORT.test(digits) && port <= 65535 && port !== usual ? { scheme, host, port } : undefined;
}

/** ASCII only: `toLowerCase` turns the Kelvin sign into `k`. */
function inLowerCase(text: string): string {
  return text.replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase());
}

function isHost(host: string): boolean {
  if (host.startsWith("[")) return isCanonicalIPv6(host);
  const name = host.endsWith(".") ? host.slice(0, -1) : host;
  if (name.length > 253) return false;
  const labels = name.split(".");
  if (!labels.every((label) => LABEL.test(label))) return false;
  // The URL standard reads a name that ends in a number as IPv4, hexadecimal and short forms included; only the dotted
  // quad is what a browser writes.
  return /^(?:\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? "") ? isIPv4(host) : true;
}

function isCanonicalIPv6(host: string): boolean {
  const address = host.slice(1, -1);
  if (!host.endsWith("]") || address.includes("%") || !isIPv6(address)) return false;
  return new URL(`http://${host}`).hostname === host;
}

/**
 * True for the local machine, which is reached without a network: `localhost`, names under it, 127.0.0.0/8 and
 * `[::1]`.
 */
export function isLoopbackHost(host: string): boolean {
  return (
    host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || (host.startsWith("127.") && isIPv4(host))
  );
}

/** An entry of a list of origins: one origin, or every subdomain of `host` at any depth (never `host` itself). */
export interface OriginPattern extends Origin {
  readonly subdomains: boolean;
}

/**
 * Parses `https://app.example.com` or `https://*.example.com[:port]`, with the scheme in any case; `undefined` when
 * it is neither.
 */
export function parseOriginPattern(entry: string): OriginPattern | undefined {
  const schemeEnd = entry.indexOf("://");
  const text = inLowerCase(entry.slice(0, schemeEnd + 1)) + entry.slice(schemeEnd + 1);
  const star = text.indexOf("://*.");
  if (star === -1) {
    const origin = parseOrigin(text);
    return origin && { ...origin, subdomains: false };
  }
  const base = parseOrigin(`${text.slice(0, star)}://${text.slice(star + 5)}`);
  if (base === undefined || !DEFAULT_PORTS.has(base.scheme) || base.host.startsWith("[") || isIPv4(base.host))
    return undefined;
  return { ...base, subdomains: true };
}

/**
 * A list of exact origins and wildcards. Built once; the cost of a look-up does not depend on the length of the list.
 */
export class OriginPatterns {
  /** Origins as `originText` writes them. */
  readonly #exact = new Set<string>();
  /** Parent name → the `scheme:port` its subdomains may have. */
  readonly #parents = new Map<string, Set<string>>();

  /** @throws RangeError when an entry is neither; check with `parseOriginPattern` first. */
  constructor(patterns: readonly string[]) {
    for (const text of patterns) {
      const pattern = parseOriginPattern(text);
      if (pattern === undefined) throw new RangeError("This is not an origin or an origin pattern.");
      if (!pattern.subdomains) {
        this.#exact.add(originText(pattern));
        continue;
      }
      const ends = this.#parents.get(pattern.host) ?? new Set<string>();
      this.#parents.set(pattern.host, ends.add(`${pattern.scheme}:${pattern.port}`));
    }
  }

  /** @param text the value of an Origin field, which may be any text */
  has(text: string): boolean {
    if (this.#exact.has(text)) return true;
    const origin = parseOrigin(text);
    if (origin === undefined) return false;
    if (!DEFAULT_PORTS.has(origin.scheme)) return this.#exact.has(originText(origin));
    const end = `${origin.scheme}:${origin.port}`;
    // Goes from dot to dot, to compare whole labels only (`evil-example.com` is not a part of `example.com`).
    for (let dot = origin.host.indexOf("."); dot !== -1; dot = origin.host.indexOf(".", dot + 1)) {
      if (this.#parents.get(origin.host.slice(dot + 1))?.has(end) === true) return true;
    }
    return false;
  }
}

/** An origin as a browser writes it, in lower case. */
export function originText({ scheme, host, port }: Origin): string {
  const usual = DEFAULT_PORTS.get(scheme) ?? 0;
  return `${scheme}://${host}${port === usual ? "" : `:${port}`}`;
}
