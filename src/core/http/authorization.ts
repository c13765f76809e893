/** Longest credential looked at, in characters; a longer one is refused unread. */
export const MAX_CREDENTIAL_LENGTH = 8192;

/** RFC 6750 section 2.1: the token after `Bearer`, or `undefined` when the header is of another scheme or absent. */
export function bearerToken(authorization: string | undefined): string | undefined {
  if (authorization === undefined || authorization.length < 7) return undefined;
  // Schemes are compared without case (RFC 9110 section 11.1).
  if (authorization.slice(0, 7).toLowerCase() !== "bearer ") return undefined;
  return authorization.slice(7).trim();
}

/** RFC 9110 section 5.6.4 quoted-string; anything outside printable ASCII is dropped. */
function quoted(text: string): string {
  return `"${text.replace(/[^\x20-\x7e]/g, "").replace(/["\\]/g, "\\$&")}"`;
}

export interface Challenge {
  readonly realm?: string;
  /** RFC 6750 section 3.1; absent when no credential was sent. */
  readonly error?: "invalid_token" | "insufficient_scope" | "invalid_request";
  readonly scopes?: readonly string[];
}

/** One challenge for WWW-Authenticate (RFC 9110 section 11.6.1, RFC 6750 section 3). */
export function challenge(
  scheme: "Bearer" | "ApiKey" | "Session",
  { realm = "api", error, scopes }: Challenge = {},
): string {
  let text = `${scheme} realm=${quoted(realm)}`;
  if (error !== undefined) text += `, error=${quoted(error)}`;
  if (scopes !== undefined && scopes.length > 0) text += `, scope=${quoted(scopes.join(" "))}`;
  return text;
}
