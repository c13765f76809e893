import type { SecurityEventName } from "../../core/events.js";
import { callerFor } from "../../core/store-caller.js";
import type { Runtime } from "../../core/runtime.js";
import type { StoredApiKey } from "../../stores/contracts.js";
import type { RepeatedWrites } from "../../stores/health/repeated-writes.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import type { KeyChanges } from "../../stores/revocations/changes.js";
import { stateProblem } from "../decide.js";
import { ApiKeyError } from "../errors.js";
import { isKeyId } from "../keys/format.js";
import type { KeyHasher } from "../keys/hashing.js";
import type { ResolvedApiKeySettings } from "../settings.js";
import type { AuditContext } from "../types.js";
import type { VerifiedCache } from "../verification/verified-cache.js";
import { type GuardedKeyStore, withKeyErrors } from "./guarded-store.js";

/** What the operations on keys share. */
export interface ManagementParts {
  readonly options: ResolvedApiKeySettings;
  readonly runtime: Runtime;
  readonly store: GuardedKeyStore;
  readonly cache: VerifiedCache;
  readonly hasher: KeyHasher;
  /** Writes that are repeated until the store has them. */
  readonly unfinished: RepeatedWrites;
  readonly changes: KeyChanges | undefined;
}

/** How many refused operations one process tracks, and for how long in milliseconds. */
export const TRACKED = { revocations: 10_000, rotations: 1000, forMs: 10 * 60_000 } as const;

/**
 * Returns the record of a key that can still be changed.
 *
 * @throws ApiKeyError (rejects) "not-found", "revoked", "expired" or "rotated"
 */
export async function changeableKey(
  { store, runtime }: ManagementParts,
  id: string,
  time: StoreTime,
): Promise<StoredApiKey> {
  const stored = isKeyId(id) ? await withKeyErrors(store.read((keys) => keys.get(id), callerFor(id), time)) : undefined;
  if (stored === undefined) throw new ApiKeyError("not-found");
  const problem = stateProblem(stored, runtime.clock.now()) ?? (stored.rotatedTo === null ? undefined : "rotated");
  if (problem !== undefined) throw new ApiKeyError(problem);
  return stored;
}

/** Announces a change of a key. */
export function announceKey(
  { runtime }: ManagementParts,
  name: SecurityEventName,
  reason: string,
  key: { readonly id: string; readonly ownerId?: string },
  audit: AuditContext,
): void {
  runtime.events.emit(name, () => ({
    source: "api-key",
    reason,
    ...(key.ownerId === undefined ? {} : { subject: key.ownerId }),
    ...audit,
    credentialId: key.id,
  }));
}
