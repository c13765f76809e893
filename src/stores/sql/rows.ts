import { type ReadableParts, UnreadableRecordError } from "../health/store-fault.js";
import type { JsonValue, KeyChange, KeyDigest, StoredApiKey, StoredRefreshToken } from "../contracts.js";
import { copyApiKey, copyKeyChange, copyRefreshToken, parseJson } from "../records.js";
import type { ApiKeyRow, RefreshTokenRow } from "./schema.js";

/** @throws TypeError when a text or a number is not storable */
export function apiKeyRow(key: StoredApiKey): ApiKeyRow {
  const copy = copyApiKey(key);
  return {
    id: copy.id,
    owner_id: copy.ownerId,
    name: copy.name,
    hash_algorithm: copy.hash.algorithm,
    hash_digest: copy.hash.digest,
    scopes: JSON.stringify(copy.scopes),
    roles: JSON.stringify(copy.roles),
    allow_list: JSON.stringify(copy.allow),
    rate_limit: copy.rateLimit === null ? null : JSON.stringify(copy.rateLimit),
    metadata: JSON.stringify(copy.metadata),
    created_at: copy.createdAt,
    expires_at: copy.expiresAt,
    revoked_at: copy.revokedAt,
    revoked_reason: copy.revokedReason,
    rotated_to: copy.rotatedTo,
    grace_until: copy.graceUntil,
    made_by: copy.madeBy,
    lineage: copy.lineage,
    first_id: copy.firstId,
    path: JSON.stringify(copy.path),
    line_ended_at: null,
    line_expires_at: null,
    owner_mark: null,
    made_at: copy.createdAt,
    ...listedTimes(copy),
    usage_count: copy.usageCount,
    last_used_at: copy.lastUsedAt,
  };
}

/** The times by which a key is listed; null when it is revoked or replaced. */
function listedTimes(key: StoredApiKey): Pick<ApiKeyRow, "due_at" | "idle_at"> {
  if (key.revokedAt !== null || key.rotatedTo !== null) return { due_at: null, idle_at: null };
  return { due_at: key.expiresAt, idle_at: key.lastUsedAt ?? key.createdAt };
}

/** The columns of a change, but for the one that notes an expiry for the line. */
export function keyChangeRow(change: KeyChange): Partial<ApiKeyRow> {
  const { name, scopes, roles, allow, rateLimit, metadata, expiresAt } = copyKeyChange(change);
  return {
    ...(name === undefined ? {} : { name }),
    ...(scopes === undefined ? {} : { scopes: JSON.stringify(scopes) }),
    ...(roles === undefined ? {} : { roles: JSON.stringify(roles) }),
    ...(allow === undefined ? {} : { allow_list: JSON.stringify(allow) }),
    ...(rateLimit === undefined ? {} : { rate_limit: rateLimit === null ? null : JSON.stringify(rateLimit) }),
    ...(metadata === undefined ? {} : { metadata: JSON.stringify(metadata) }),
    ...(expiresAt === undefined ? {} : { expires_at: expiresAt, due_at: expiresAt }),
  };
}

/** @throws UnreadableRecordError when the row is damaged, or of a newer version */
export function apiKeyOf(row: ApiKeyRow): StoredApiKey {
  return readable(
    "API key",
    () => readApiKey(row),
    () => ({ ownerId: textOf(row.owner_id) }),
  );
}

function readApiKey(row: ApiKeyRow): StoredApiKey {
  return Object.freeze({
    id: textOf(row.id),
    ownerId: textOf(row.owner_id),
    name: textOf(row.name),
    hash: Object.freeze({ algorithm: algorithmOf(textOf(row.hash_algorithm)), digest: textOf(row.hash_digest) }),
    scopes: listOf(row.scopes),
    roles: listOf(row.roles),
    allow: listOf(row.allow_list),
    rateLimit:
      row.rate_limit === null ? null : (parseJson(textOf(row.rate_limit)) as unknown as StoredApiKey["rateLimit"]),
    metadata: parseJson(textOf(row.metadata)) as Readonly<Record<string, JsonValue>>,
    createdAt: Number(row.created_at),
    expiresAt: numberOrNull(row.expires_at),
    revokedAt: numberOrNull(row.revoked_at),
    revokedReason: textOrNull(row.revoked_reason),
    rotatedTo: textOrNull(row.rotated_to),
    graceUntil: numberOrNull(row.grace_until),
    madeBy: textOrNull(row.made_by),
    // Rows older than these columns have null: such a key has no ancestors.
    lineage: textOf(row.lineage ?? row.id),
    firstId: textOf(row.first_id ?? row.id),
    path: row.path === null ? Object.freeze([]) : listOf(row.path),
    usageCount: Number(row.usage_count),
    lastUsedAt: numberOrNull(row.last_used_at),
  });
}

/** @throws TypeError when a text or a number is not storable */
export function refreshTokenRow(token: StoredRefreshToken): RefreshTokenRow {
  const copy = copyRefreshToken(token);
  return {
    id: copy.id,
    hash: copy.hash,
    family_id: copy.familyId,
    subject: copy.subject,
    scopes: JSON.stringify(copy.scopes),
    roles: JSON.stringify(copy.roles),
    claims: JSON.stringify(copy.claims),
    issued_at: copy.issuedAt,
    expires_at: copy.expiresAt,
    family_expires_at: copy.familyExpiresAt,
    used_at: copy.usedAt,
    successor_id: copy.successorId,
    sealed_successor: copy.sealedSuccessor,
    sealed_at: copy.sealedSuccessor === null ? null : copy.usedAt,
    undelivered_at: copy.undeliveredAt ?? null,
    revoked_at: copy.revokedAt,
  };
}

/** @throws UnreadableRecordError when the row is damaged, or of a newer version */
export function refreshTokenOf(row: RefreshTokenRow): StoredRefreshToken {
  return readable(
    "refresh token",
    () => readRefreshToken(row),
    () => ({ hash: textOf(row.hash), familyId: textOf(row.family_id), subject: textOf(row.subject) }),
  );
}

function readRefreshToken(row: RefreshTokenRow): StoredRefreshToken {
  return Object.freeze({
    id: textOf(row.id),
    hash: textOf(row.hash),
    familyId: textOf(row.family_id),
    subject: textOf(row.subject),
    scopes: listOf(row.scopes),
    roles: listOf(row.roles),
    claims: parseJson(textOf(row.claims)) as Readonly<Record<string, JsonValue>>,
    issuedAt: Number(row.issued_at),
    expiresAt: Number(row.expires_at),
    familyExpiresAt: Number(row.family_expires_at),
    usedAt: numberOrNull(row.used_at),
    successorId: textOrNull(row.successor_id),
    sealedSuccessor: textOrNull(row.sealed_successor),
    undeliveredAt: numberOrNull(row.undelivered_at),
    revokedAt: numberOrNull(row.revoked_at),
  });
}

/** @param partsOf reads what is enough to revoke the record */
function readable<T>(kind: string, read: () => T, partsOf: () => ReadableParts): T {
  try {
    return read();
  } catch (cause) {
    throw new UnreadableRecordError(kind, { cause, readable: readableParts(partsOf) });
  }
}

function readableParts(partsOf: () => ReadableParts): ReadableParts {
  try {
    return partsOf();
  } catch {
    return {};
  }
}

function numberOrNull(value: number | bigint | string | null): number | null {
  return value === null ? null : Number(value);
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** MySQL's drivers return a binary column as bytes (see `ddl.ts`). */
export function textOf(value: string | Uint8Array): string {
  return typeof value === "string" ? value : UTF8.decode(value);
}

function textOrNull(value: string | Uint8Array | null): string | null {
  return value === null ? null : textOf(value);
}

function listOf(value: string | Uint8Array): readonly string[] {
  const list = parseJson(textOf(value));
  if (!Array.isArray(list) || !list.every((item) => typeof item === "string"))
    throw new TypeError("This is not a list of strings.");
  return list;
}

function algorithmOf(text: string): KeyDigest["algorithm"] {
  if (text === "argon2id" || text === "hmac-sha256") return text;
  throw new Error("A stored API key has an unknown hash algorithm.");
}
