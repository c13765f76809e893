import type { JsonValue, StoredApiKey } from "../../stores/contracts.js";

/** One API key as shown to its owner: everything at rest but the digest. Times are milliseconds since the epoch. Frozen. */
export type ApiKeyRecord = Omit<StoredApiKey, "hash">;

/** Uses that are counted but not written yet. */
export interface PendingUsage {
  readonly count: number;
  readonly lastUsedAt: number;
}

/** The public view of a stored key. Names every field, so that a column added to a store never leaks by itself. */
export function publicRecord(stored: StoredApiKey, pending?: PendingUsage): ApiKeyRecord {
  return Object.freeze({
    id: stored.id,
    ownerId: stored.ownerId,
    name: stored.name,
    scopes: Object.freeze([...stored.scopes]),
    roles: Object.freeze([...stored.roles]),
    allow: Object.freeze([...stored.allow]),
    rateLimit: stored.rateLimit === null ? null : Object.freeze({ ...stored.rateLimit }),
    metadata: frozenJson(stored.metadata) as ApiKeyRecord["metadata"],
    createdAt: stored.createdAt,
    expiresAt: stored.expiresAt,
    revokedAt: stored.revokedAt,
    revokedReason: stored.revokedReason,
    rotatedTo: stored.rotatedTo,
    graceUntil: stored.graceUntil,
    madeBy: stored.madeBy,
    lineage: stored.lineage,
    firstId: stored.firstId,
    path: Object.freeze([...stored.path]),
    usageCount: stored.usageCount + (pending?.count ?? 0),
    lastUsedAt: pending === undefined ? stored.lastUsedAt : Math.max(stored.lastUsedAt ?? 0, pending.lastUsedAt),
  });
}

function frozenJson(value: JsonValue): JsonValue {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return Object.freeze((value as readonly JsonValue[]).map(frozenJson));
  return Object.freeze(Object.fromEntries(Object.entries(value).map(([key, item]) => [key, frozenJson(item)])));
}
