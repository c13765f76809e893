import { isIPv4, isIPv6 } from "node:net";
import { getPublicSuffix } from "tldts";
import { z } from "zod";
import type { SettingsCode } from "../../settings/errors.js";
import { addIssue } from "../../settings/object.js";

/** The parts of an origin (RFC 6454 section 4, HTML "origin"). */
export interface Origin {
  readonly scheme: string;
  /** Lower case; an IPv6 address in its brackets. */
  readonly host: string;
  /** The port in force: 80 or 443 when none was written; 0 for another scheme without one. */
  readonly port: number;
}

/** Longest origin looked at, in characters: `https://` with the longest name DNS has and a port is 268. */
export const MAX_ORIGIN_LENGTH = 320;

const DEFAULT_PORTS: ReadonlyMap<string, number> = new Map([
  ["http", 80],
  ["https", 443],
]);
const SCHEME = /^[a-z][a-z0-9+.-]*$/;
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const PORT = /^[1-9]\d{0,4}$/;

/**
 * Reads a serialised origin (RFC 6454 section 6.2) exactly as a browser writes it: lower case, no userinfo, path, query
 * or default port, one spelling per address. Whatever differs is no origin: `undefined`, and so is `null`. Linear, never
 * throws. `_` is taken in names (browsers send it, container networks use it), and one closing dot is kept: with it the
 * name is another origin. The host of a scheme other than http and https may be in capitals and is read in lower case:
 * WebKit writes it as the extension or app has it (Safari: `safari-web-extension://` and a UUID in capitals), Chromium in
 * lower case.
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
  // Electron's apps have the origins app://- and app://. of a scheme of their own.
  if (!isHost(host) && (usual !== undefined || (host !== "-" && host !== "."))) return undefined;
  if (colon === -1) return { scheme, host, port: usual ?? 0 };
  const digits = authority.slice(colon + 1);
  const port = Number(digits);
  return PORT.test(digits) && port <= 65535 && port !== usual ? { scheme, host, port } : undefined;
}

/** ASCII alone: `toLowerCase` makes a `k` of the Kelvin sign. */
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

/** True for the machine itself, which no network lies before: `localhost`, names under it, 127.0.0.0/8 and `[::1]`. */
export function isLoopbackHost(host: string): boolean {
  return (
    host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || (host.startsWith("127.") && isIPv4(host))
  );
}

/** An entry of a list of origins: one origin, or every subdomain of `host` at any depth (never `host` itself). */
export interface OriginPattern extends Origin {
  readonly subdomains: boolean;
}

/** Reads `https://app.example.com` or `https://*.example.com[:port]`, the scheme without case; `undefined` when it is neither. */
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

/** Which origins are on a list of exact origins and wildcards. Built once; a look-up costs the same however long the list. */
export class OriginPatterns {
  /** Origins as `nameOf` writes them. */
  readonly #exact = new Set<string>();
  /** Parent name → the `scheme:port` its subdomains may have. */
  readonly #parents = new Map<string, Set<string>>();

  /** @throws RangeError when an entry is neither; check with `originPatternSchema` first. */
  constructor(patterns: readonly string[]) {
    for (const text of patterns) {
      const pattern = parseOriginPattern(text);
      if (pattern === undefined) throw new RangeError("not an origin or origin pattern");
      if (!pattern.subdomains) {
        this.#exact.add(nameOf(pattern));
        continue;
      }
      const ends = this.#parents.get(pattern.host) ?? new Set<string>();
      this.#parents.set(pattern.host, ends.add(`${pattern.scheme}:${pattern.port}`));
    }
  }

  /** @param text the value of an Origin field; anything at all */
  has(text: string): boolean {
    if (this.#exact.has(text)) return true;
    const origin = parseOrigin(text);
    if (origin === undefined) return false;
    if (!DEFAULT_PORTS.has(origin.scheme)) return this.#exact.has(nameOf(origin));
    const end = `${origin.scheme}:${origin.port}`;
    // From dot to dot, so that only whole labels are ever compared (`evil-example.com` is no part of `example.com`).
    for (let dot = origin.host.indexOf("."); dot !== -1; dot = origin.host.indexOf(".", dot + 1)) {
      if (this.#parents.get(origin.host.slice(dot + 1))?.has(end) === true) return true;
    }
    return false;
  }
}

/** An origin as a browser writes it, in lower case. */
function nameOf({ scheme, host, port }: Origin): string {
  const usual = DEFAULT_PORTS.get(scheme) ?? 0;
  return `${scheme}://${host}${port === usual ? "" : `:${port}`}`;
}

/** What is wrong with an entry of a list of origins. */
export interface OriginPatternProblem {
  readonly code: Extract<SettingsCode, "wrong-value" | "unsafe-setting">;
  readonly message: string;
  readonly remedy: string;
}

/** Schemes that no browser puts before `://` in an Origin field: such pages have the origin `null`, or are no pages. */
const PAGELESS = new Set(["about", "blob", "data", "file", "ftp", "javascript", "ws", "wss"]);

/** What is wrong with an entry, or `undefined` when it is an origin or a wildcard that can be trusted. */
export function originPatternProblem(text: string): OriginPatternProblem | undefined {
  const pattern = parseOriginPattern(text);
  if (pattern === undefined) return { code: "wrong-value", ...shapeProblem(text) };
  if (PAGELESS.has(pattern.scheme)) {
    return {
      code: "wrong-value",
      message: "No page has an origin of this scheme.",
      remedy: "Write the http or https origin of the page that sends the request.",
    };
  }
  if (pattern.host.endsWith(".") && pattern.host !== ".") {
    return {
      code: "wrong-value",
      message: "The host ends in a dot, which makes it another origin than the one without.",
      remedy: "Leave the dot out.",
    };
  }
  if (!URL.canParse(text)) {
    return {
      code: "wrong-value",
      message: "No browser takes this host: one of its labels is no valid punycode.",
      remedy: "Copy the origin from the browser: location.origin.",
    };
  }
  if (!pattern.subdomains || isLoopbackHost(pattern.host)) return undefined;
  if (getPublicSuffix(pattern.host, { allowPrivateDomains: true }) !== pattern.host) return undefined;
  return {
    code: "unsafe-setting",
    message:
      "This is a public suffix or a bare top-level name: names under it belong to many owners, and the wildcard would trust them all.",
    remedy: "Name the domain that is yours: https://*.example.com instead of https://*.com.",
  };
}

function shapeProblem(text: string): { message: string; remedy: string } {
  if (text === "*") {
    return {
      message: '"*" is not an origin, and in a list it does not stand for all of them.',
      remedy: 'Name the origins. Where a protection can take every origin, its setting is "*" itself, not a list.',
    };
  }
  if (text === "null") {
    return {
      message: "Any page can give itself the origin null, by a sandboxed frame.",
      remedy: "Serve the page from an http or https origin and name that.",
    };
  }
  if (/^file:/i.test(text)) {
    return {
      message:
        "A page that is opened from a file has the origin null or file://, which it shares with every other file.",
      remedy: "Serve the page from an http or https origin, or from a scheme of your own (app://-), and name that.",
    };
  }
  if (text.length > MAX_ORIGIN_LENGTH)
    return { message: `An origin has at most ${MAX_ORIGIN_LENGTH} characters.`, remedy: "Write scheme://host[:port]." };
  if (text.replace("://*.", "://").includes("*")) {
    return {
      message: "A wildcard stands for whole labels at the very beginning of the host.",
      remedy: "Write https://*.example.com, and https://example.com beside it if that is meant too.",
    };
  }
  if (text.includes("://*.") && !/^https?:/i.test(text)) {
    return {
      message: "A wildcard can only stand in an http or https origin.",
      remedy: "Name the origins of this scheme one by one.",
    };
  }
  const remedy = suggestion(text);
  if (/[^\x21-\x7e]/.test(text))
    return { message: "An origin is ASCII without spaces; a browser sends other scripts as punycode.", remedy };
  if (/^https?:\/\/[^/?#]*$/i.test(text) && /[A-Z]/.test(text.slice(text.indexOf("://")))) {
    return {
      message: "A browser sends the host of an http or https origin in lower case, so this would never match.",
      remedy,
    };
  }
  if (!text.includes("://"))
    return {
      message: "There is no scheme.",
      remedy: "Write scheme://host[:port], for example https://app.example.com.",
    };
  if (text.includes("@")) return { message: "An origin has no user name.", remedy };
  if (/^http:.*:80$|^https:.*:443$/i.test(text))
    return { message: "A browser leaves the default port out, so this would never match.", remedy };
  if (/[/?#\\]/.test(text.slice(text.indexOf("://") + 3)))
    return { message: "An origin has no path, query or fragment, not even a closing slash.", remedy };
  return { message: "This is not an origin as a browser sends it.", remedy };
}

/** What the browser sends for a URL: the remedy, when the text is one. Never repeats userinfo, path or query. */
function suggestion(text: string): string {
  const origin = URL.canParse(text) ? new URL(text).origin : "null";
  return parseOriginPattern(origin) === undefined
    ? "Write scheme://host[:port], for example https://app.example.com."
    : `Write ${origin}.`;
}

/** One entry of a list of origins: exact (`https://app.example.com`) or all subdomains (`https://*.example.com`). */
export const originPatternSchema = z.string().superRefine((text, context) => {
  const problem = originPatternProblem(text);
  if (problem !== undefined) addIssue(context, problem);
});
