import type { IncomingMessage } from "node:http";
import { isIPv4, isIPv6 } from "node:net";
import type { Request } from "express";

/** The host that a request is for: the parsed value of a Host field. */
export interface Authority {
  /** Lower case, without a trailing dot; an IPv6 address in its brackets and in canonical form (RFC 5952). */
  readonly host: string;
  /** `undefined` when none was written. */
  readonly port: number | undefined;
}

/** Maximum length of the value, in characters: the longest DNS name (253), a trailing dot, and `:65535`. */
export const MAX_AUTHORITY_LENGTH = 253 + 1 + 6;

const MAX_NAME_LENGTH = 253;
const MAX_LABEL_LENGTH = 63;

/**
 * Parses the value of a Host field (RFC 9112 section 3.2: `uri-host [ ":" port ]`). It accepts names and addresses as
 * they occur on networks, not all that RFC 3986 section 3.2.2 allows in a reg-name:
 *
 * - names are labels of letters, digits, `-` and `_` (container networks use it), each at most 63, together 253;
 * - a name whose last label is a number must be a dotted IPv4 address: the URL standard reads `127.1`, `0x7f.1` and
 *   `2130706433` as addresses, and a host that two readers read differently is refused;
 * - IPv6 addresses stand in brackets and have no zone;
 * - a port is 1 to 65535 without leading zeros. RFC 3986 section 3.2.3 allows an empty port (`host:`), but no client
 *   sends one, so it is refused.
 *
 * Anything else (userinfo, path, query, percent sign, comma, space, control byte, non-ASCII) is `undefined`. Linear in
 * the length, which is capped; never throws.
 */
export function parseAuthority(text: string): Authority | undefined {
  if (text.length === 0 || text.length > MAX_AUTHORITY_LENGTH) return undefined;
  const hostEnd = text.charCodeAt(0) === 0x5b /* [ */ ? text.indexOf("]") + 1 : endOfName(text);
  if (hostEnd === 0) return undefined;
  let port: number | undefined;
  if (hostEnd < text.length) {
    port = readPort(text, hostEnd);
    if (port === undefined) return undefined;
  }
  const written = hostEnd === text.length ? text : text.slice(0, hostEnd);
  const host = written.startsWith("[") ? readIPv6(written) : readName(written);
  return host === undefined ? undefined : { host, port };
}

function endOfName(text: string): number {
  const colon = text.indexOf(":");
  return colon === -1 ? text.length : colon;
}

/** The port after the colon at `colon`; `undefined` when there is no colon there or no port after it. */
function readPort(text: string, colon: number): number | undefined {
  const digits = text.length - colon - 1;
  if (text.charCodeAt(colon) !== 0x3a /* : */ || digits < 1 || digits > 5 || text.charCodeAt(colon + 1) === 0x30)
    return undefined;
  let port = 0;
  for (let i = colon + 1; i < text.length; i += 1) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    port = port * 10 + digit;
  }
  return port <= 65535 ? port : undefined;
}

function readIPv6(bracketed: string): string | undefined {
  // Hexadecimal digits, colons and dots: `isIPv6` alone would take a zone (`fe80::1%eth0`).
  if (!/^\[[0-9a-f:.]{2,45}\]$/i.test(bracketed) || !isIPv6(bracketed.slice(1, -1))) return undefined;
  // The URL standard's spelling is the one browsers put into Origin and Host.
  return new URL(`http://${bracketed}`).hostname;
}

const HYPHEN = 0x2d;

function readName(written: string): string | undefined {
  const name = written.endsWith(".") ? written.slice(0, -1) : written;
  if (name.length === 0 || name.length > MAX_NAME_LENGTH) return undefined;
  let labelStart = 0;
  for (let i = 0; i <= name.length; i += 1) {
    const code = i === name.length ? 0x2e : name.charCodeAt(i);
    if (code === 0x2e /* . */) {
      if (i === labelStart || i - labelStart > MAX_LABEL_LENGTH) return undefined;
      if (name.charCodeAt(labelStart) === HYPHEN || name.charCodeAt(i - 1) === HYPHEN) return undefined;
      if (i < name.length) labelStart = i + 1;
    } else if (!isNameByte(code)) return undefined;
  }
  const host = name.toLowerCase();
  return isNumber(host.slice(labelStart)) && !isIPv4(host) ? undefined : host;
}

/** Letters, digits, `-` and `_`. */
function isNameByte(code: number): boolean {
  return (
    (code >= 0x61 && code <= 0x7a) ||
    (code >= 0x30 && code <= 0x39) ||
    code === HYPHEN ||
    (code >= 0x41 && code <= 0x5a) ||
    code === 0x5f
  );
}

/** URL standard, "ends in a number checker": decimal digits, or `0x` and hexadecimal digits, perhaps none. */
function isNumber(label: string): boolean {
  const first = label.charCodeAt(0);
  return first >= 0x30 && first <= 0x39 && /^(?:\d+|0x[\da-f]*)$/.test(label);
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = Object.freeze({ http: 80, https: 443 });

/** True for the same host and the same port, where no port is the default of `scheme`. */
export function sameAuthority(a: Authority, b: Authority, scheme: string): boolean {
  const usual = DEFAULT_PORTS[scheme];
  return a.host === b.host && (a.port ?? usual) === (b.port ?? usual);
}

/** A request target (RFC 9112 section 3.2), parsed up to the end of its path. */
export interface RequestTarget {
  /** Without query and fragment, nothing decoded; `*` for the asterisk-form. */
  readonly path: string;
  /** Only in the absolute-form, which names the host a second time. */
  readonly absolute: { readonly scheme: string; readonly authority: string } | undefined;
}

/** Parses the request target of the request line; `undefined` when it has none of the forms that a server accepts. */
export function parseTarget(target: string): RequestTarget | undefined {
  if (target.startsWith("/") || target === "*")
    return { path: target.slice(0, endOfPath(target, 0)), absolute: undefined };
  const scheme = /^https?(?=:\/\/)/i.exec(target)?.[0];
  if (scheme === undefined) return undefined;
  const start = scheme.length + 3;
  let end = start;
  while (end < target.length && !isAuthorityEnd(target.charCodeAt(end))) end += 1;
  const path = target.slice(end, endOfPath(target, end));
  return {
    path: path === "" ? "/" : path,
    absolute: { scheme: scheme.toLowerCase(), authority: target.slice(start, end) },
  };
}

/** `/`, `?` or `#` */
function isAuthorityEnd(code: number): boolean {
  return code === 0x2f || code === 0x3f || code === 0x23;
}

function endOfPath(target: string, from: number): number {
  for (let i = from; i < target.length; i += 1) {
    const code = target.charCodeAt(i);
    if (code === 0x3f || code === 0x23) return i;
  }
  return target.length;
}

/**
 * The path of the request line, whichever router handles the request now. Lists of exempt paths are compared with it.
 */
export function pathOf(req: Request): string | undefined {
  return parseTarget(req.originalUrl)?.path;
}

const NO_LINES: readonly string[] = Object.freeze([]);

/**
 * Every value of a header field in the request as sent. Node drops or joins duplicates; `rawHeaders` does not. Some
 * serverless adapters fill only `headers`: a field without a line in `rawHeaders` takes its values from there.
 */
export function headerLines(req: IncomingMessage, lowerCaseName: string): readonly string[] {
  const raw = (req.rawHeaders as readonly string[] | undefined) ?? NO_LINES;
  let lines: string[] | undefined;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? "";
    if (name.length === lowerCaseName.length && name.toLowerCase() === lowerCaseName)
      (lines ??= []).push(raw[i + 1] ?? "");
  }
  if (lines !== undefined) return lines;
  const value = req.headers[lowerCaseName];
  return value === undefined ? NO_LINES : typeof value === "string" ? [value] : value;
}

/**
 * Every value that names the host of a request: the Host lines and, over HTTP/2, `:authority`, which replaces Host
 * (RFC 9113 section 8.3.1) and may occur beside a Host line with the same value.
 */
export function hostLines(req: Request): readonly string[] {
  const lines = headerLines(req, "host");
  if (req.httpVersionMajor < 2) return lines;
  const authority = headerLines(req, ":authority");
  return lines.length === 1 && authority.length === 1 && lines[0] === authority[0] ? lines : [...authority, ...lines];
}

/** Whether the peer of this connection is a proxy that the app's `trust proxy` setting trusts. */
export function isFromTrustedProxy(req: Request): boolean {
  // The compiled setting that Express itself uses for `req.hostname` and `req.protocol`; the same in Express 4 and 5.
  const trusts: unknown = req.app?.get("trust proxy fn");
  return (
    typeof trusts === "function" &&
    (trusts as (address: string | undefined, hop: number) => unknown)(req.socket.remoteAddress, 0) === true
  );
}
