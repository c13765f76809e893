import type { SecurityEventDetails } from "../core/events.js";
import type { PartDependencies, Runtime } from "../core/runtime.js";
import type { Secret } from "../core/secret.js";
import { SettingsError } from "../settings/errors.js";
import type { ApiKeyStore, RateLimitStore, StoredApiKey } from "../stores/contracts.js";
import type { ApiKeyRecord } from "./keys/records.js";

/** A new key. `key` is shown here and never again. */
export interface CreatedApiKey {
  /** The key itself. It is shown here and never again. */
  readonly key: string;
  /** The key as stored. */
  readonly record: ApiKeyRecord;
}

/** The caller and the request behind a change; recorded in the event. */
export type AuditContext = Pick<SecurityEventDetails, "subject" | "sourceIp" | "method" | "path">;

/** How services in several processes notify each other of changed keys (see `ChangeFeed`). */
export interface KeyChanges {
  /** Whether this process's cache of keys is up to date. */
  readonly isCurrent: boolean;
  /** Resolves when every process has been notified, or will detect the change within its bound. */
  publish(change: { readonly kind: "api-key"; readonly name: string }): Promise<void>;
  /**
   * Calls `listener` with the id of a key to read again from the store, or with undefined for all keys. Returns a
   * function that unsubscribes.
   */
  onKeyChange(listener: (keyId: string | undefined) => void): () => void;
}

/** Objects passed to an `ApiKeyService`. */
export interface ApiKeyServiceDependencies extends PartDependencies {
  /** @internal Replaces `events`, `clock` and `onRefusal`: the runtime of a whole application. */
  readonly runtime?: Runtime | undefined;
  /** Used when the settings name no store. Its creator closes it. */
  readonly store?: ApiKeyStore | undefined;
  /** The root secret: the pepper of hmac-sha256 is derived from it when the settings have none. */
  readonly secretKey?: readonly Secret[] | undefined;
  /** Counts failures and the keys' own limits; in-process when absent. Its creator closes it. */
  readonly limiter?: RateLimitStore | undefined;
  /** @internal Without it, a key revoked in another process stays valid here for up to `cacheSeconds`. */
  readonly changes?: KeyChanges | undefined;
}

/**
 * Without a pepper, hmac-sha256 would be a plain hash, and a client with write access to the store could forge keys.
 */
export function missingSecret(): SettingsError {
  return new SettingsError([
    {
      code: "missing-setting",
      path: "secret",
      message: 'hash: "hmac-sha256" needs a secret.',
      remedy: "Set secretKey, or set secret here; or remove hash to use argon2id, which needs no secret.",
    },
  ]);
}

/** The fields of a new key, which a rotation keeps. */
export type RotatedFields = Pick<
  StoredApiKey,
  | "ownerId"
  | "name"
  | "scopes"
  | "roles"
  | "allow"
  | "rateLimit"
  | "metadata"
  | "createdAt"
  | "expiresAt"
  | "madeBy"
  | "path"
> & {
  /** Null: the new key begins a lineage. */
  readonly lineage: string | null;
  readonly firstId: string | null;
};
