import { PortcullisError } from "../core/portcullis-error.js";

/** The reason why a call of `ApiKeyService` failed. The error's message explains it. */
export type ApiKeyErrorCode =
  "invalid-input" | "not-found" | "revoked" | "expired" | "rotated" | "unreadable" | "too-many-keys";

/** One mistake in the input. Never contains the value. */
export interface ApiKeyIssue {
  /** Position in the input: `scopes[1]`; empty for the object itself. */
  readonly path: string;
  /** What is wrong. */
  readonly message: string;
}

const MESSAGES: Record<ApiKeyErrorCode, string> = {
  "invalid-input": "The input is invalid",
  "not-found": "There is no such API key",
  revoked: "The API key has been revoked",
  expired: "The API key has expired",
  rotated: "The API key has already been rotated",
  unreadable: "The stored record of the API key is damaged or was written by a newer version",
  "too-many-keys": "The owner has reached the maximum number of API keys; revoke one first",
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

/** A call of `ApiKeyService` failed: the input is wrong, or the state of the key does not allow the call. */
export class ApiKeyError extends PortcullisError {
  readonly code: ApiKeyErrorCode;
  /** Status that Express's own error handler responds with when the app forwards the error. */
  readonly status: 400 | 404 | 409;
  /** Every mistake in the input; empty unless `code` is `invalid-input`. */
  readonly issues: readonly ApiKeyIssue[];

  constructor(code: ApiKeyErrorCode, issues: readonly ApiKeyIssue[] = [], options?: { readonly cause?: unknown }) {
    const listed = issues.map((issue) => `${issue.path || "(input)"}: ${issue.message}`).join("; ");
    super(`${MESSAGES[code]}${listed === "" ? "." : `: ${listed}`}`, options);
    this.name = "ApiKeyError";
    this.code = code;
    this.status = STATUSES[code];
    this.issues = Object.freeze(issues.map((issue) => Object.freeze({ ...issue })));
  }
}
