import type { JsonValue, KeyDigest, StoredApiKey, StoredRefreshToken } from "./contracts.js";

/**
 * Copies of the records, frozen at every depth and holding the contract's fields only. Every store keeps and gives out
 * such copies, so that nobody can change what is stored by changing what was passed in or handed out.
 *
 * @throws TypeError when a text or a number is one that not every engine keeps (see `isStorable`)
 */
export function copyApiKey(key: StoredApiKey): StoredApiKey {
  return Object.freeze({
    id: nameText(key.id),
    ownerId: nameText(key.ownerId),
    name: text(key.name),
    hash: copyDigest(key.hash),
    scopes: Object.freeze(key.scopes.map(text)),
    roles: Object.freeze(key.roles.map(text)),
    allow: Object.freeze(key.allow.map(text)),
    rateLimit:
      key.rateLimit === null
        ? null
        : Object.freeze({ limit: integer(key.rateLimit.limit), windowSeconds: integer(key.rateLimit.windowSeconds) }),
    metadata: copyJson(key.metadata),
    createdAt: integer(key.createdAt),
    expiresAt: orNull(key.expiresAt, integer),
    revokedAt: orNull(key.revokedAt, integer),
    revokedReason: orNull(key.revokedReason, text),
    rotatedTo: orNull(key.rotatedTo, nameText),
    graceUntil: orNull(key.graceUntil, integer),
    madeBy: orNull(key.madeBy, text),
    lineage: text(key.lineage),
    firstId: text(key.firstId),
    path: Object.freeze(key.path.map(text)),
    usageCount: integer(key.usageCount),
    lastUsedAt: orNull(key.lastUsedAt, integer),
  });
}

/** Why a key is refused whose maker, or whose line of rotations, has been ended. */
const MAKER_ENDED = "maker-ended";

/** The ids, beside its own, whose mark ends this key. */
export function endingIds(key: StoredApiKey): readonly string[] {
  return key.firstId === key.id ? key.path : [...key.path, key.firstId];
}

/** The key as revoked at `endedAt` by a mark, unless it is revoked by itself or there is no mark. */
export function endedByMark(key: StoredApiKey, endedAt: number | undefined): StoredApiKey {
  return endedAt === undefined || key.revokedAt !== null
    ? key
    : Object.freeze({ ...key, revokedAt: endedAt, revokedReason: MAKER_ENDED });
}

export function copyDigest(hash: KeyDigest): KeyDigest {
  return Object.freeze({ algorithm: hash.algorithm, digest: text(hash.digest) });
}

export function copyRefreshToken(token: StoredRefreshToken): StoredRefreshToken {
  return Object.freeze({
    id: nameText(token.id),
    hash: text(token.hash),
    familyId: nameText(token.familyId),
    subject: nameText(token.subject),
    scopes: Object.freeze(token.scopes.map(text)),
    roles: Object.freeze(token.roles.map(text)),
    claims: copyJson(token.claims),
    issuedAt: integer(token.issuedAt),
    expiresAt: integer(token.expiresAt),
    familyExpiresAt: integer(token.familyExpiresAt),
    usedAt: orNull(token.usedAt, integer),
    successorId: orNull(token.successorId, nameText),
    sealedSuccessor: orNull(token.sealedSuccessor, text),
    undeliveredAt: orNull(token.undeliveredAt ?? null, integer),
    revokedAt: orNull(token.revokedAt, integer),
  });
}

/**
 * Whether every engine keeps this text as it is. A lone surrogate becomes U+FFFD in UTF-8, which would make two owners
 * one; a NUL cuts the text short in some SQLite drivers, and PostgreSQL refuses it.
 */
export function isStorable(value: string): boolean {
  return !/[\0\p{Surrogate}]/u.test(value);
}

/** @throws TypeError when the text is not storable; the text is not repeated */
export function text(value: string): string {
  if (!isStorable(value)) throw notStorable("A text holds a NUL or half of a surrogate pair, which no store keeps.");
  return value;
}

/** Longest text that is looked up by, in UTF-16 units: what the columns of every engine hold. */
const MAX_NAME_LENGTH = 255;

/** @throws TypeError when the text is not storable, or longer than what is looked up by may be */
export function nameText(value: string): string {
  if (value.length > MAX_NAME_LENGTH) throw notStorable(`A name is longer than ${MAX_NAME_LENGTH} characters.`);
  return text(value);
}

/** @throws TypeError when the number is not a whole number that JavaScript and SQL both hold exactly */
export function integer(value: number): number {
  if (!Number.isSafeInteger(value)) throw notStorable("A time or count is not a safe integer.");
  return value;
}

/** The value is at fault and not the store: the code is what `health/store-fault.ts` knows it by. */
function notStorable(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: "PORTCULLIS_NOT_STORABLE" });
}

/** How many records a page has: a whole number, nothing below 0 (SQLite takes a negative LIMIT for none). */
export function pageSize(limit: number): number {
  return Math.min(Math.max(0, Math.floor(limit)) || 0, 10_000);
}

function orNull<T>(value: T | null, check: (value: T) => T): T | null {
  return value === null ? null : check(value);
}

type JsonObject = Readonly<Record<string, JsonValue>>;

/**
 * By way of the text, so that every store gives back the same: `JSON.parse` makes a `__proto__` key an ordinary own
 * property, and what JSON cannot say (undefined, -0) is gone in memory as it is in SQL.
 */
function copyJson(value: JsonObject): JsonObject {
  return parseJson(JSON.stringify(value)) as JsonObject;
}

/** `JSON.parse`, the result frozen at every depth. */
export function parseJson(text: string): JsonValue {
  const value: unknown = JSON.parse(text);
  return deepFreeze(value as JsonValue);
}

function deepFreeze(value: JsonValue): JsonValue {
  if (typeof value !== "object" || value === null) return value;
  for (const part of Object.values<JsonValue>(value)) deepFreeze(part);
  return Object.freeze(value);
}
