import { deepFreeze } from "../core/deep-freeze.js";
import { MAX_ID_LENGTH } from "../core/identity.js";
import type { JsonValue, KeyChange, KeyDigest, StoredApiKey, StoredRefreshToken } from "./contracts.js";

/**
 * Copies records: frozen at every depth and with the contract's fields only. Every store keeps and returns such copies,
 * so that a caller cannot change stored data through an object it passed in or received.
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
    rateLimit: copyLimit(key.rateLimit),
    metadata: copyJson(key.metadata),
    createdAt: integer(key.createdAt),
    expiresAt: orNull(key.expiresAt, integer),
    revokedAt: orNull(key.revokedAt, integer),
    revokedReason: orNull(key.revokedReason, text),
    rotatedTo: orNull(key.rotatedTo, nameText),
    graceUntil: orNull(key.graceUntil, integer),
    madeBy: orNull(key.madeBy, nameText),
    lineage: nameText(key.lineage),
    firstId: nameText(key.firstId),
    path: Object.freeze(key.path.map(text)),
    usageCount: integer(key.usageCount),
    lastUsedAt: orNull(key.lastUsedAt, integer),
  });
}

/** The revocation reason of a key whose creator, or whose line of rotations, has been ended. */
const MAKER_ENDED = "maker-ended";

/** The ids, other than its own, whose mark ends this key. */
export function endingIds(key: StoredApiKey): readonly string[] {
  return key.firstId === key.id ? key.path : [...key.path, key.firstId];
}

/** The key as revoked at `endedAt` by a mark. Unchanged when it is revoked by itself or there is no mark. */
export function endedByMark(key: StoredApiKey, endedAt: number | undefined, reason = MAKER_ENDED): StoredApiKey {
  return endedAt === undefined || key.revokedAt !== null
    ? key
    : Object.freeze({ ...key, revokedAt: endedAt, revokedReason: reason });
}

/** The key with the expiry of a line that ends before it does. */
export function expiringWith(key: StoredApiKey, lineExpiresAt: number | undefined): StoredApiKey {
  return lineExpiresAt === undefined || (key.expiresAt !== null && key.expiresAt <= lineExpiresAt)
    ? key
    : Object.freeze({ ...key, expiresAt: lineExpiresAt });
}

/** A frozen copy of a change, without fields that are absent. @throws TypeError when a text or a number is not storable */
export function copyKeyChange(change: KeyChange): KeyChange {
  const { name, scopes, roles, allow, rateLimit, metadata, expiresAt } = change;
  return Object.freeze({
    ...(name === undefined ? {} : { name: text(name) }),
    ...(scopes === undefined ? {} : { scopes: Object.freeze(scopes.map(text)) }),
    ...(roles === undefined ? {} : { roles: Object.freeze(roles.map(text)) }),
    ...(allow === undefined ? {} : { allow: Object.freeze(allow.map(text)) }),
    ...(rateLimit === undefined ? {} : { rateLimit: copyLimit(rateLimit) }),
    ...(metadata === undefined ? {} : { metadata: copyJson(metadata) }),
    ...(expiresAt === undefined ? {} : { expiresAt: orNull(expiresAt, integer) }),
  });
}

function copyLimit(limit: StoredApiKey["rateLimit"]): StoredApiKey["rateLimit"] {
  return limit === null
    ? null
    : Object.freeze({ limit: integer(limit.limit), windowSeconds: integer(limit.windowSeconds) });
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
 * Whether every engine stores this text unchanged. In UTF-8 a lone surrogate becomes U+FFFD, so two owners could become
 * one. A NUL truncates the text in some SQLite drivers, and PostgreSQL rejects it.
 */
export function isStorable(value: string): boolean {
  return !/[\0\p{Surrogate}]/u.test(value);
}

/** @throws TypeError when the text is not storable; the message does not repeat the text */
export function text(value: string): string {
  if (!isStorable(value)) throw notStorable("A string must not contain NUL or lone surrogates.");
  return value;
}

/** @throws TypeError when the text is not storable, or too long for a look-up key */
export function nameText(value: string): string {
  if (value.length > MAX_ID_LENGTH) throw notStorable(`An id must have at most ${MAX_ID_LENGTH} characters.`);
  return text(value);
}

/** @throws TypeError when the number is not an integer that both JavaScript and SQL represent exactly */
export function integer(value: number): number {
  if (!Number.isSafeInteger(value)) throw notStorable("A time or count must be a safe integer.");
  return value;
}

/** The error is in the value, not in the store: `health/store-fault.ts` recognises it by this code. */
export function notStorable(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: "PORTCULLIS_NOT_STORABLE" });
}

/** Number of records in a page: an integer of at least 0 (SQLite treats a negative LIMIT as no limit). */
export function pageSize(limit: number): number {
  return Math.min(Math.max(0, Math.floor(limit)) || 0, 10_000);
}

export function orNull<T>(value: T | null, check: (value: T) => T): T | null {
  return value === null ? null : check(value);
}

type JsonObject = Readonly<Record<string, JsonValue>>;

/**
 * Copies by way of JSON text, so that every store returns the same: `JSON.parse` makes a `__proto__` key an ordinary
 * own property, and memory loses what JSON cannot represent (undefined, -0) as SQL does.
 */
function copyJson(value: JsonObject): JsonObject {
  return parseJson(JSON.stringify(value)) as JsonObject;
}

/** `JSON.parse` with the result frozen at every depth. */
export function parseJson(text: string): JsonValue {
  return deepFreeze(JSON.parse(text) as JsonValue);
}
