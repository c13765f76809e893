import type { MethodTable } from "../forwarding.js";
import type { WriteCall } from "../health/write-call.js";
import type { JsonValue } from "../json.js";

/** Something that can be used once and soon ends: a log-in that has not been finished, a challenge. */
export interface SingleUseRecord {
  /** A hash of the secret that the client holds: 43 characters of base64url. */
  readonly id: string;
  /** What it is for: 1 to 32 lower-case letters, digits or `-`, such as `log-in`. */
  readonly kind: string;
  /** The person it belongs to: 1 to 255 characters. */
  readonly ownerId: string;
  /** What its kind keeps, at most 8 KB as JSON. */
  readonly data: Readonly<Record<string, JsonValue>>;
  /** When it ends, in milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** Stores records that can be used once. `singleUseStoreConformance` of `portcullis/testing` checks an implementation. */
export interface SingleUseStore {
  /** Creates the schema if needed. Called once, before anything else. */
  init(): Promise<void>;
  /**
   * Resolves when the record is stored. A person has at most 10 records of a kind: one more ends the one that would
   * end first. Rejects when the id exists, and with a `StoreFullError` (`PORTCULLIS_STORE_FULL`) when a bounded store
   * has no room. Cost: O(log n).
   */
  put(record: SingleUseRecord, call?: WriteCall): Promise<void>;
  /** The record of this kind, if it has not expired at `now`. Cost: O(log n). */
  get(kind: string, id: string, now: number): Promise<SingleUseRecord | undefined>;
  /**
   * Removes the record of this kind and returns it, if it has not expired at `now`. Of N concurrent calls exactly one
   * gets it. Cost: O(log n).
   */
  take(kind: string, id: string, now: number, call?: WriteCall): Promise<SingleUseRecord | undefined>;
  /**
   * Removes what has expired at `now`, a bounded number at a time. Returns how many; 0 where records end by
   * themselves. Cost: O(log n) for each.
   */
  deleteExpired(now: number): Promise<number>;
  /** Closes what the store itself opened. */
  close(): Promise<void>;
}

export const SINGLE_USE_STORE_METHODS: MethodTable<SingleUseStore> = {
  init: "required",
  put: "required",
  get: "required",
  take: "required",
  deleteExpired: "required",
  close: "required",
};
