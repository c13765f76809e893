import type { Principal } from "../../core/principal.js";
import type { ApiKeyStateProblem } from "../decide.js";
import type { ApiKeyRecord } from "../keys/records.js";

/**
 * The reason why a key was not accepted. For logs and events: clients only see "invalid", "too many" or "try again".
 */
export type ApiKeyFailureReason =
  | "malformed"
  | "unknown"
  | "mismatch"
  /** The record is damaged, or was created with a pepper that is not in the settings. */
  | "unreadable"
  | ApiKeyStateProblem
  | "address-not-allowed"
  | "too-many-failures"
  | "rate-limited"
  | "store-unavailable"
  | "busy";

/** A valid key. The record may be as old as `cacheSeconds`, and does not count the latest uses. */
export interface AcceptedApiKey {
  /** The key was accepted. */
  readonly ok: true;
  /** The key as stored. */
  readonly record: ApiKeyRecord;
  /** The principal that the key authenticates. */
  readonly principal: Principal;
}

/** A key that was not accepted. */
export interface RejectedApiKey {
  /** The key was not accepted. */
  readonly ok: false;
  /** The reason, for logs and events. */
  readonly reason: ApiKeyFailureReason;
  /** The id of the key, when there is such a key. */
  readonly keyId?: string;
  /** The owner of the key, when there is such a key. */
  readonly ownerId?: string;
  /** Seconds to wait, for "too-many-failures", "rate-limited", "store-unavailable" and "busy". */
  readonly retryAfterSeconds?: number;
  /** The principal of the key, when the key is valid and only its limit is exceeded. */
  readonly principal?: Principal;
}

/** The result of `ApiKeyService.verify`; `ok` distinguishes the two cases. */
export type ApiKeyVerification = AcceptedApiKey | RejectedApiKey;

/** A rejection with a time to wait. @param key the key, when there is such a key */
export function rejected(
  reason: ApiKeyFailureReason,
  waitMs: number,
  key?: { id: string; ownerId: string },
): RejectedApiKey {
  // RFC 9110 section 10.2.3: whole seconds; rounded up, so that a client does not retry too early.
  const retryAfterSeconds = Math.max(1, Math.ceil(waitMs / 1000));
  return key === undefined
    ? { ok: false, reason, retryAfterSeconds }
    : { ok: false, reason, retryAfterSeconds, keyId: key.id, ownerId: key.ownerId };
}
