import type { SecurityEventDetails } from "../core/events.js";
import type { PartDependencies, Runtime } from "../core/runtime.js";
import type { Secret } from "../core/secret.js";
import type { ApiKeyStore, RateLimitStore } from "../stores/contracts.js";
import type { KeyChanges } from "../stores/revocations/changes.js";
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
