import { deepFreeze, isDeepFrozen } from "../../core/deep-freeze.js";
import { NO_GRACE } from "../decide.js";
import type { StoredApiKey } from "../../stores/contracts.js";

/**
 * One API key as shown to its owner: all stored fields except the digest. Times are milliseconds since the epoch.
 * Frozen.
 */
export type ApiKeyRecord = Omit<StoredApiKey, "hash">;

/** Uses that have been counted but not written yet. */
export interface PendingUsage {
  readonly count: number;
  readonly lastUsedAt: number;
}

/**
 * Returns the public view of a stored key. It lists every field explicitly, so that a new column in a store is not
 * exposed by accident.
 */
export function publicRecord(stored: StoredApiKey, pending?: PendingUsage): ApiKeyRecord {
  return Object.freeze({
    id: stored.id,
    ownerId: stored.ownerId,
    name: stored.name,
    scopes: Object.freeze([...stored.scopes]),
    roles: Object.freeze([...stored.roles]),
    allow: Object.freeze([...stored.allow]),
    rateLimit: stored.rateLimit === null ? null : Object.freeze({ ...stored.rateLimit }),
    // Our stores return frozen records, and copying a large one takes most of a millisecond.
    metadata: isDeepFrozen(stored.metadata) ? stored.metadata : deepFreeze(structuredClone(stored.metadata)),
    createdAt: stored.createdAt,
    expiresAt: stored.expiresAt,
    revokedAt: stored.revokedAt,
    revokedReason: stored.revokedReason,
    rotatedTo: stored.rotatedTo,
    graceUntil: stored.graceUntil === NO_GRACE ? null : stored.graceUntil,
    madeBy: stored.madeBy,
    lineage: stored.lineage,
    firstId: stored.firstId,
    path: Object.freeze([...stored.path]),
    usageCount: stored.usageCount + (pending?.count ?? 0),
    lastUsedAt: pending === undefined ? stored.lastUsedAt : Math.max(stored.lastUsedAt ?? 0, pending.lastUsedAt),
  });
}
