import type { Principal } from "../../core/principal.js";
import type { ApiKeyStateProblem } from "../decide.js";
import type { ApiKeyRecord } from "../keys/records.js";

/** Why a key was not accepted. For logs and events: a caller is told no more than "invalid", "too many" or "try again". */
export type ApiKeyFailureReason =
  | "malformed"
  | "unknown"
  | "mismatch"
  /** The record is damaged, or made under a pepper that is not in the settings. */
  | "unreadable"
  | ApiKeyStateProblem
  | "address-not-allowed"
  | "too-many-failures"
  | "rate-limited"
  | "store-unavailable"
  | "busy";

/** A key that is good. The record may be as old as `cacheSeconds`, and does not count the latest uses. */
export interface AcceptedApiKey {
  /** The key was accepted. */
  readonly ok: true;
  /** The key as stored. */
  readonly record: ApiKeyRecord;
  /** Who the key proves its bearer to be. */
  readonly principal: Principal;
}

/** A key that was not accepted. */
export interface RejectedApiKey {
  /** The key was not accepted. */
  readonly ok: false;
  /** Why, for logs and events. */
  readonly reason: ApiKeyFailureReason;
  /** The key's id and owner, when there is such a key. */
  readonly keyId?: string;
  /** The owner of the key, when there is such a key. */
  readonly ownerId?: string;
  /** Seconds to wait, for "too-many-failures", "rate-limited", "store-unavailable" and "busy". */
  readonly retryAfterSeconds?: number;
  /** Whose key it is, when the key itself is good and only its limit is used up. */
  readonly principal?: Principal;
}

/** What `ApiKeyService.verify` resolves with; `ok` tells the two apart. */
export type ApiKeyVerification = AcceptedApiKey | RejectedApiKey;
