import { PortcullisError } from "../core/portcullis-error.js";

/**
 * Why a token was not taken, or not made. The caller of an API never sees it (one `invalid-credentials` for all); it is for the
 * app's own code and for the event's `reason`. `README.md` explains each.
 */
export const TOKEN_ERROR_CODES = [
  "malformed",
  "algorithm",
  "critical-header",
  "type",
  "unknown-key",
  "signature",
  "claims",
  "issuer",
  "audience",
  "lifetime",
  "expired",
  "not-yet-valid",
  "revoked",
  "unknown",
  "reused",
  "unreadable",
  "invalid-input",
  "store-unavailable",
] as const;

/** Why a token was refused or not made; src/jwt/README.md explains each code. */
export type TokenErrorCode = (typeof TOKEN_ERROR_CODES)[number];

const MESSAGES: Readonly<Record<TokenErrorCode, string>> = {
  malformed: "The token is not of the form a token has.",
  algorithm: "The token is signed with another algorithm than this manager's.",
  "critical-header": "The token demands an extension (crit) that is not understood.",
  type: "The token is not an access token (typ at+jwt).",
  "unknown-key": "The token names a key this manager does not have.",
  signature: "The signature does not match.",
  claims: "A claim is missing or of the wrong type.",
  issuer: "The token is from another issuer.",
  audience: "The token is for another audience.",
  lifetime: "The token's life is longer than this manager gives.",
  expired: "The token has expired.",
  "not-yet-valid": "The token is not valid yet.",
  revoked: "The token has been revoked.",
  unknown: "There is no such refresh token.",
  reused: "The refresh token has been used before; its family is now revoked.",
  unreadable: "The record of the refresh token is damaged, or was written by a newer version.",
  "invalid-input": "A token cannot be made from this.",
  "store-unavailable": "The token store did not answer.",
};

/** A token was refused or could not be made; `code` says why. The message never holds the token or a part of it. */
export class TokenError extends PortcullisError {
  readonly code: TokenErrorCode;
  /** What Express's own error handler answers when the app passes the error on. */
  readonly status: 400 | 401 | 503;

  constructor(code: TokenErrorCode, options: ErrorOptions & { message?: string } = {}) {
    super(options.message ?? MESSAGES[code], options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "TokenError";
    this.code = code;
    this.status = code === "invalid-input" ? 400 : code === "store-unavailable" ? 503 : 401;
  }
}
