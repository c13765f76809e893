import { PortcullisError } from "../core/portcullis-error.js";

/** Every code an `ApiKeyError` can have. */
export const API_KEY_ERROR_CODES = [
  "invalid-input",
  "not-found",
  "revoked",
  "expired",
  "rotated",
  "unreadable",
  "too-many-keys",
] as const;

/** Why `ApiKeyService` did not do what it was asked; src/api-key/README.md explains each code. */
export type ApiKeyErrorCode = (typeof API_KEY_ERROR_CODES)[number];

/** One thing wrong with what was passed in. Never holds the value. */
export interface ApiKeyIssue {
  /** Where: `scopes[1]`; empty for the object itself. */
  readonly path: string;
  /** What is wrong. */
  readonly message: string;
}

const MESSAGES: Record<ApiKeyErrorCode, string> = {
  "invalid-input": "The input is not valid",
  "not-found": "There is no such API key",
  revoked: "The API key is revoked",
  expired: "The API key has expired",
  rotated: "The API key has been rotated already",
  unreadable: "The record of the API key is damaged, or was written by a newer version",
  "too-many-keys": "The owner has as many API keys as one may have; revoke some",
};

const STATUSES = {
  "invalid-input": 400,
  "not-found": 404,
  revoked: 409,
  expired: 409,
  rotated: 409,
  unreadable: 409,
  "too-many-keys": 409,
} as const;

/** A call of `ApiKeyService` that cannot be done: wrong input, or a key whose state does not allow it. */
export class ApiKeyError extends PortcullisError {
  readonly code: ApiKeyErrorCode;
  /** What Express's own error handler answers when the app passes the error on. */
  readonly status: 400 | 404 | 409;
  /** Every mistake in the input; empty unless `code` is `invalid-input`. */
  readonly issues: readonly ApiKeyIssue[];

  constructor(code: ApiKeyErrorCode, issues: readonly ApiKeyIssue[] = [], options?: ErrorOptions) {
    const listed = issues.map((issue) => `${issue.path || "(input)"}: ${issue.message}`).join("; ");
    super(`${MESSAGES[code]}${listed === "" ? "." : `: ${listed}`}`, options);
    this.name = "ApiKeyError";
    this.code = code;
    this.status = STATUSES[code];
    this.issues = Object.freeze(issues.map((issue) => Object.freeze({ ...issue })));
  }
}
