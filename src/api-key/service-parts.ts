import type { SecurityEventDetails } from "../core/events.js";
import type { PartDependencies, Runtime } from "../core/runtime.js";
import type { Secret } from "../core/secret.js";
import { SettingsError } from "../settings/errors.js";
import type { ApiKeyStore, RateLimitStore, StoredApiKey } from "../stores/contracts.js";
import type { ApiKeyRecord } from "./keys/records.js";

/** A key just made. `key` is shown here and never again. */
export interface CreatedApiKey {
  /** The key itself. It is shown here and never again. */
  readonly key: string;
  /** The key as stored. */
  readonly record: ApiKeyRecord;
}

/** Who asked for a change, and by what request; goes into the event. */
export type AuditContext = Pick<SecurityEventDetails, "subject" | "sourceIp" | "method" | "path">;

/** How services in several processes tell each other of keys that changed (see `ChangeFeed`). */
export interface KeyChanges {
  /** Whether what this process remembers of keys may be believed. */
  readonly isCurrent: boolean;
  /** Resolves when every process has been told, or will find out within its bound. */
  publish(change: { readonly kind: "api-key"; readonly name: string }): Promise<void>;
  /** `listener` is called with the id of a key to be read afresh; without one: every key. Returns what ends it. */
  onKeyChange(listener: (keyId: string | undefined) => void): () => void;
}

/** What a service may be given instead of making it. */
export interface ApiKeyServiceDependencies extends PartDependencies {
  /** @internal In place of `events`, `clock` and `onRefusal`: those of a whole application. */
  readonly runtime?: Runtime | undefined;
  /** Used when the settings name no store. Closed by whoever made it. */
  readonly store?: ApiKeyStore | undefined;
  /** The root secret: the pepper of hmac-sha256 is derived from it when the settings give none. */
  readonly secretKey?: readonly Secret[] | undefined;
  /** Counts failures and the keys' own limits; in-process when absent. Closed by whoever made it. */
  readonly limiter?: RateLimitStore | undefined;
  /** @internal Without it a key revoked in another process works here for up to `cacheSeconds`. */
  readonly changes?: KeyChanges | undefined;
}

/** hmac-sha256 without a pepper would be a plain hash that anybody who can write to the store can forge. */
export function missingSecret(): SettingsError {
  return new SettingsError([
    {
      code: "missing-setting",
      path: "secret",
      message: 'hash: "hmac-sha256" needs a secret, and there is none.',
      remedy: "Give the root `secretKey`, or `secret` here; or leave `hash` at argon2id, which needs none.",
    },
  ]);
}

/** What a key is made from, and what a rotation keeps of it. */
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
  /** Null: the new key begins one. */
  readonly lineage: string | null;
  readonly firstId: string | null;
};
