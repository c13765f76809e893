import type { IncomingMessage } from "node:http";
import { headerLines } from "./authority.js";

const SPACE = 0x20;
const TAB = 0x09;

/** Maximum length of a credential, in characters; a longer one is refused without being read. */
export const MAX_CREDENTIAL_LENGTH = 8192;

/** The `Authorization` field of a request. */
export type Authorization =
  | { readonly kind: "none" }
  /** Several lines: Node keeps the first, a proxy may keep another. */
  | { readonly kind: "repeated" }
  | {
      readonly kind: "credentials";
      /** In lower case: schemes are compared without case (RFC 9110 section 11.1). */
      readonly scheme: string;
      /** The text after the scheme: possibly empty, possibly several words. */
      readonly value: string;
    };

const NONE: Authorization = Object.freeze({ kind: "none" });
const REPEATED: Authorization = Object.freeze({ kind: "repeated" });

/** Reads the credentials of a request (RFC 9110 section 11.6.2). Every component reads them with this function. */
export function readAuthorization(req: IncomingMessage): Authorization {
  // A list from some adapters. Middleware in front may have set the field, so its value is not read from the lines.
  const given = req.headers.authorization as string | readonly string[] | undefined;
  const text = typeof given === "object" ? given[0] : given;
  if (text === undefined) return NONE;
  return headerLines(req, "authorization").length > 1 ? REPEATED : parseAuthorization(text);
}

/**
 * Parses the value of one line: a scheme and, after at least one space, its credentials (RFC 9110 section 11.4). A
 * tab does not separate the two (RFC 6750 section 2.1), so nothing after a tab is read.
 */
export function parseAuthorization(text: string): Extract<Authorization, { kind: "credentials" }> {
  let end = 0;
  while (end < text.length && text.charCodeAt(end) !== SPACE && text.charCodeAt(end) !== TAB) end += 1;
  const value = text.charCodeAt(end) === SPACE ? text.slice(end + 1).trim() : "";
  return { kind: "credentials", scheme: text.slice(0, end).toLowerCase(), value };
}

/** RFC 9110 section 5.6.4 quoted-string; anything outside printable ASCII is dropped. */
function quoted(text: string): string {
  return `"${text.replace(/[^\x20-\x7e]/g, "").replace(/["\\]/g, "\\$&")}"`;
}

export interface Challenge {
  readonly realm?: string;
  /** RFC 6750 section 3.1; absent when no credential was sent. */
  readonly error?: "invalid_token" | "insufficient_scope" | "invalid_request" | "insufficient_user_authentication";
  readonly scopes?: readonly string[];
  /** RFC 9470 section 3: how old the authentication may be, in seconds. */
  readonly maxAge?: number;
}

/** One challenge for WWW-Authenticate (RFC 9110 section 11.6.1, RFC 6750 section 3). */
export function challenge(
  scheme: "Bearer" | "ApiKey" | "Session" | "External",
  { realm = "api", error, scopes, maxAge }: Challenge = {},
): string {
  let text = `${scheme} realm=${quoted(realm)}`;
  if (error !== undefined) text += `, error=${quoted(error)}`;
  if (scopes !== undefined && scopes.length > 0) text += `, scope=${quoted(scopes.join(" "))}`;
  if (maxAge !== undefined) text += `, max_age=${quoted(String(maxAge))}`;
  return text;
}
