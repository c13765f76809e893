import type { StoredApiKey, StoredRefreshToken } from "../stores/contracts.js";

/** An API key at rest with every field filled, but neither revoked nor rotated. */
export function sampleKey(changes: Partial<StoredApiKey> = {}): StoredApiKey {
  return {
    id: "key-1",
    ownerId: "owner",
    name: "nightly export",
    hash: { algorithm: "argon2id", digest: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$ZGlnZXN0" },
    scopes: ["read", "orders:*"],
    roles: ["auditor"],
    allow: ["192.0.2.0/24", "2001:db8::1"],
    rateLimit: { limit: 10, windowSeconds: 60 },
    metadata: { team: "red", nested: { list: [1, "two", null, true] } },
    createdAt: 1_767_225_600_000,
    expiresAt: 1_798_761_600_000,
    revokedAt: null,
    revokedReason: null,
    rotatedTo: null,
    graceUntil: null,
    madeBy: null,
    lineage: changes.id ?? "key-1",
    firstId: changes.id ?? "key-1",
    path: [],
    usageCount: 3,
    lastUsedAt: 1_767_225_700_000,
    ...changes,
  };
}

const DAY_MS = 86_400_000;

/** An unused refresh token at rest. Its times lie around the machine's, since a store may drop what has ended. */
export function sampleToken(changes: Partial<StoredRefreshToken> = {}): StoredRefreshToken {
  const now = Date.now();
  return {
    id: "token-1",
    hash: "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
    familyId: "family-1",
    subject: "user-1",
    scopes: ["read", "orders:write"],
    roles: ["auditor"],
    claims: { tenant: "red", nested: { list: [1, "two", null, true] } },
    issuedAt: now,
    expiresAt: now + 7 * DAY_MS,
    familyExpiresAt: now + 30 * DAY_MS,
    usedAt: null,
    successorId: null,
    sealedSuccessor: null,
    undeliveredAt: null,
    revokedAt: null,
    ...changes,
  };
}
