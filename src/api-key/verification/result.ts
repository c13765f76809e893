import type { Principal } from "../../core/principal.js";
import type { StateProblem } from "../decide.js";
import type { ApiKeyRecord } from "../keys/records.js";

/** Why a key was not accepted. For logs and events: a caller is told no more than "invalid", "too many" or "try again". */
export type VerifyFailureReason =
  | "malformed"
  | "unknown"
  | "mismatch"
  /** The record is damaged, or made under a pepper that is not in the settings. */
  | "unreadable"
  | StateProblem
  | "address-not-allowed"
  | "too-many-failures"
  | "rate-limited"
  | "store-unavailable"
  | "busy";

/** A key that is good. The record may be as old as `cacheSeconds`, and does not count the latest uses. */
export interface Accepted {
  readonly ok: true;
  readonly record: ApiKeyRecord;
  readonly principal: Principal;
}

export interface NotAccepted {
  readonly ok: false;
  readonly reason: VerifyFailureReason;
  /** The key's id and owner, when there is such a key. */
  readonly keyId?: string;
  readonly ownerId?: string;
  /** Seconds to wait, for "too-many-failures", "rate-limited", "store-unavailable" and "busy". */
  readonly retryAfterSeconds?: number;
  /** Whose key it is, when the key itself is good and only its limit is used up. */
  readonly principal?: Principal;
}

export type VerifyResult = Accepted | NotAccepted;
