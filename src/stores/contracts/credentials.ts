import type { MethodTable } from "../forwarding.js";
import type { WriteCall } from "../health/write-call.js";
import type { JsonValue } from "../json.js";

/**
 * Something with which a person proves who they are, or is about to: a password, an authenticator app, a recovery code, a
 * link that was sent by mail. Secrets are hashed or encrypted in it.
 */
export interface StoredCredential {
  /** 1 to 64 characters of base64url, unique, and drawn anew for each one: a store finds out by it what it has stored. */
  readonly id: string;
  /** The person it belongs to: 1 to 255 characters. */
  readonly ownerId: string;
  /** What it is: 1 to 32 lower-case letters, digits or `-`, such as `password`. */
  readonly kind: string;
  /** What finds it among those of its kind, where it is unique: 1 to 255 characters. */
  readonly name: string;
  /** What its kind keeps, at most 8 KB as JSON. */
  readonly data: Readonly<Record<string, JsonValue>>;
  /** When it was made, in milliseconds since the epoch. */
  readonly createdAt: number;
  /** When it was confirmed; `null` while it cannot be used yet. */
  readonly confirmedAt: number | null;
  /** When it was last used. */
  readonly usedAt: number | null;
  /** When it ends by itself; `null` for never. */
  readonly expiresAt: number | null;
  /** The last value of a counter that only grows: the time step of a one-time code. At first -1. */
  readonly counter: number;
  /** Failures in a row. */
  readonly failures: number;
  /** Grows with every `update` in a change; `advance` and the methods for failures leave it as it is. At first 0. */
  readonly version: number;
}

/** Members of a credential that an update changes. */
export interface CredentialUpdate {
  /** Which credential. */
  readonly id: string;
  /** The version that the caller has read: with another one nothing is changed. */
  readonly version: number;
  /** What its kind keeps, in place of what it kept. */
  readonly data?: Readonly<Record<string, JsonValue>>;
  /** When it was confirmed. */
  readonly confirmedAt?: number | null;
  /** When it was last used. */
  readonly usedAt?: number | null;
  /** When it ends by itself. */
  readonly expiresAt?: number | null;
  /** Sets the counter, whatever it was. */
  readonly counter?: number;
  /** Sets the number of failures in a row. */
  readonly failures?: number;
}

/** What one transaction does to the credentials of one person: all of it or nothing, in this order. */
export interface CredentialChange {
  /** Ids of credentials that must exist, belong to the person, and are removed. */
  readonly remove?: readonly string[];
  /** Kinds of which all credentials of the person are removed. */
  readonly removeKinds?: readonly string[];
  /** Credentials of the person that are changed. */
  readonly update?: readonly CredentialUpdate[];
  /** New credentials of the person. Of each the kind and the name must be free. */
  readonly insert?: readonly StoredCredential[];
}

/** Stores what people prove. `credentialStoreConformance` of `portcullis/testing` checks an implementation. */
export interface CredentialStore {
  /** Creates the schema if needed. Called once, before anything else. */
  init(): Promise<void>;
  /** All credentials of a person, expired ones too, in the order of `createdAt` and `id`. Cost: O(log n + own). */
  listOf(ownerId: string): Promise<readonly StoredCredential[]>;
  /** The credential of this kind and name, or `undefined`. Cost: O(log n). */
  find(kind: string, name: string): Promise<StoredCredential | undefined>;
  /**
   * Makes a change in one transaction, if all of its conditions hold; otherwise returns false and changes nothing. Of N
   * concurrent changes that remove the same credential, or update the same version, exactly one returns true. Rejects
   * with a `StoreFullError`: with the code `PORTCULLIS_STORE_FULL` when a bounded store has no room, and with
   * `PORTCULLIS_SHARE_FULL` when the person would have more than 100 credentials; expired ones give way first. Rejects
   * a change that names a credential twice or inserts one of another person. After the deadline of `call` nothing is
   * committed. Cost: O(log n + own).
   */
  change(ownerId: string, change: CredentialChange, call?: WriteCall): Promise<boolean>;
  /**
   * Sets the counter, `usedAt` and no failures, provided the counter is below the new value; otherwise returns false and
   * changes nothing. Of N concurrent calls with one value exactly one returns true. Cost: O(log n).
   */
  advance(id: string, counter: number, usedAt: number, call?: WriteCall): Promise<boolean>;
  /**
   * Adds one to the failures in a row and returns the new number; `undefined` when there is no such credential. N
   * concurrent calls add N. Cost: O(log n).
   */
  addFailure(id: string, call?: WriteCall): Promise<number | undefined>;
  /** Sets the failures in a row to 0. Does nothing when there is no such credential. Cost: O(log n). */
  clearFailures(id: string, call?: WriteCall): Promise<void>;
  /** Removes what has expired at `now`, a bounded number at a time. Returns how many. Cost: O(log n) for each. */
  deleteExpired(now: number): Promise<number>;
  /** Closes what the store itself opened. */
  close(): Promise<void>;
}

export const CREDENTIAL_STORE_METHODS: MethodTable<CredentialStore> = {
  init: "required",
  listOf: "required",
  find: "required",
  change: "required",
  advance: "required",
  addFailure: "required",
  clearFailures: "required",
  deleteExpired: "required",
  close: "required",
};
