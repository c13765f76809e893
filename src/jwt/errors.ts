import { PortcullisError } from "../core/portcullis-error.js";

/**
 * Reasons why a token was refused or not issued. API clients never see them (all get `invalid-credentials`); they are
 * for the app's own code and for the event's `reason`. `README.md` explains each.
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

/** The reason why a token was refused or not issued; src/jwt/README.md explains each code. */
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

/**
 * A token was refused or could not be issued; `code` is the reason. The message never contains the token or a part of
 * it.
 */
export class TokenError extends PortcullisError {
  readonly code: TokenErrorCode;
  /** Status that Express's own error handler responds with when the app forwards the error. */
  readonly status: 400 | 401 | 503;

  constructor(code: TokenErrorCode, options: ErrorOptions & { message?: string } = {}) {
    super(options.message ?? MESSAGES[code], options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "TokenError";
    this.code = code;
    this.status = code === "invalid-input" ? 400 : code === "store-unavailable" ? 503 : 401;
  }
}
