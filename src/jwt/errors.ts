import { PortcullisError } from "../core/portcullis-error.js";

/**
 * Reasons why a token was refused or not issued. API clients never see them (all get `invalid-credentials`); they are
 * for the app's own code and for the event's `reason`. The error's message explains each.
 */
export const TOKEN_ERROR_CODES = [
  "malformed",
  "algorithm",
  "critical-header",
  "type",
  "unknown-key",
  "keys-unavailable",
  "signature",
  "claims",
  "identity",
  "issuer",
  "audience",
  "lifetime",
  "expired",
  "not-yet-valid",
  "revoked",
  "unknown",
  "reused",
  "refused",
  "unreadable",
  "invalid-input",
  "store-unavailable",
] as const;

/** The reason why a token was refused or not issued. The error's message explains it. */
export type TokenErrorCode = (typeof TOKEN_ERROR_CODES)[number];

const MESSAGES: Readonly<Record<TokenErrorCode, string>> = {
  malformed: "The token is malformed.",
  algorithm: "The token is not signed with the configured algorithm.",
  "critical-header": "The token requires an extension (crit) that is not supported.",
  type: "The token is not an access token (its typ is not at+jwt).",
  "unknown-key": "The token is signed with a key (kid) that is not configured.",
  "keys-unavailable": "The keys of the issuer of the token could not be fetched.",
  signature: "The signature of the token is invalid.",
  claims: "A claim of the token is missing or has the wrong type.",
  identity:
    "The token does not yield a valid principal: its subject is too long, or a function of the settings failed.",
  issuer: "The token was issued by another issuer.",
  audience: "The token was issued for another audience.",
  lifetime: "The token is valid for longer than the configured lifetime.",
  expired: "The token has expired.",
  "not-yet-valid": "The token is not valid yet.",
  revoked: "The token has been revoked.",
  unknown: "There is no such refresh token.",
  reused: "The refresh token has already been used. All tokens of its family are now revoked.",
  refused: "jwt.onRefresh refused to renew the token. All tokens of its family are now revoked.",
  unreadable: "The stored record of the refresh token is damaged or was written by a newer version.",
  "invalid-input": "The input for the token is invalid.",
  "store-unavailable": "The token store did not respond.",
};

/** Whether nothing is known against the token: what would decide about it cannot be asked now. */
export function isUnavailable(code: TokenErrorCode): code is "store-unavailable" | "keys-unavailable" {
  return code === "store-unavailable" || code === "keys-unavailable";
}

/**
 * A token was refused or could not be issued; `code` is the reason. The message never contains the token or a part of
 * it.
 */
export class TokenError extends PortcullisError {
  readonly code: TokenErrorCode;
  /** Status that Express's own error handler responds with when the app forwards the error. */
  readonly status: 400 | 401 | 503;

  constructor(code: TokenErrorCode, options: { readonly cause?: unknown } & { message?: string } = {}) {
    super(options.message ?? MESSAGES[code], options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "TokenError";
    this.code = code;
    this.status = code === "invalid-input" ? 400 : isUnavailable(code) ? 503 : 401;
  }
}
