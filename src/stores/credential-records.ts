import type { CredentialChange, CredentialUpdate, JsonValue, SingleUseRecord, StoredCredential } from "./contracts.js";
import { UnreadableRecordError } from "./health/store-fault.js";
import { integer, isStorable, nameText, notStorable, orNull, parseJson } from "./records.js";

/** Most credentials of one person. */
export const CREDENTIALS_OF_ONE = 100;
/** Most single-use records of one person and kind. */
export const SINGLE_USE_OF_ONE = 10;

const MOST_DATA_BYTES = 8192;
const ID = /^[\w-]{1,64}$/;
const RECORD_ID = /^[\w-]{43}$/;
const KIND = /^[a-z0-9-]{1,32}$/;

type JsonObject = Readonly<Record<string, JsonValue>>;

/** A change with all of its lists, each value checked and copied. */
export interface CheckedCredentialChange {
  readonly remove: readonly string[];
  readonly removeKinds: ReadonlySet<string>;
  readonly update: readonly CredentialUpdate[];
  readonly insert: readonly StoredCredential[];
}

/**
 * A frozen copy of a change; `undefined` when it names a credential that cannot exist.
 *
 * @throws TypeError when a value is not storable, or a new credential belongs to another person
 */
export function checkedChange(ownerId: string, change: CredentialChange): CheckedCredentialChange | undefined {
  const { remove = [], removeKinds = [], update = [], insert = [] } = change;
  const copy = { remove: [...remove], removeKinds: new Set(removeKinds), update: update.map(copyUpdate) };
  const inserted = insert.map(copyCredential);
  if (inserted.some((one) => one.ownerId !== ownerId))
    throw notStorable("A change must be about the credentials of one person.");
  const named = [...copy.remove, ...copy.update.map(({ id }) => id)];
  return named.every(isCredentialId) && isStorable(ownerId) ? { ...copy, insert: inserted } : undefined;
}

/** Whether there can be a credential with this id. */
export function isCredentialId(id: string): boolean {
  return ID.test(id);
}

/** Whether there can be records of this kind. */
export function isKind(kind: string): boolean {
  return KIND.test(kind);
}

/** Whether there can be a single-use record with this id. */
export function isRecordId(id: string): boolean {
  return RECORD_ID.test(id);
}

/** A frozen copy with the contract's members only. @throws TypeError when a value is not storable */
export function copyCredential(one: StoredCredential): StoredCredential {
  return Object.freeze({
    id: matching(ID, "id", one.id),
    ownerId: ownerName(one.ownerId),
    kind: matching(KIND, "kind", one.kind),
    name: ownerName(one.name),
    data: copyData(one.data),
    createdAt: integer(one.createdAt),
    confirmedAt: orNull(one.confirmedAt, integer),
    usedAt: orNull(one.usedAt, integer),
    expiresAt: orNull(one.expiresAt, integer),
    counter: integer(one.counter),
    failures: integer(one.failures),
    version: integer(one.version),
  });
}

/** The credential after an update of its version. */
export function changedCredential(one: StoredCredential, update: CredentialUpdate): StoredCredential {
  return Object.freeze({ ...one, ...update, version: one.version + 1 });
}

/** A frozen copy with the contract's members only. @throws TypeError when a value is not storable */
export function copySingleUse(record: SingleUseRecord): SingleUseRecord {
  return Object.freeze({
    id: matching(RECORD_ID, "id", record.id),
    kind: matching(KIND, "kind", record.kind),
    ownerId: ownerName(record.ownerId),
    data: copyData(record.data),
    expiresAt: integer(record.expiresAt),
  });
}

/** Whether a record has expired at `now`. */
export function hasEnded({ expiresAt }: { readonly expiresAt: number | null }, now: number): boolean {
  return expiresAt !== null && expiresAt <= now;
}

/** The order of `listOf`. */
export function oldestFirst(one: StoredCredential, other: StoredCredential): number {
  return one.createdAt - other.createdAt || (one.id < other.id ? -1 : +(one.id > other.id));
}

function copyUpdate(update: CredentialUpdate): CredentialUpdate {
  const { id, version, data, confirmedAt, usedAt, expiresAt, counter, failures } = update;
  return Object.freeze({
    id,
    version: integer(version),
    ...(data === undefined ? {} : { data: copyData(data) }),
    ...(confirmedAt === undefined ? {} : { confirmedAt: orNull(confirmedAt, integer) }),
    ...(usedAt === undefined ? {} : { usedAt: orNull(usedAt, integer) }),
    ...(expiresAt === undefined ? {} : { expiresAt: orNull(expiresAt, integer) }),
    ...(counter === undefined ? {} : { counter: integer(counter) }),
    ...(failures === undefined ? {} : { failures: integer(failures) }),
  });
}

function copyData(data: JsonObject): JsonObject {
  const json = JSON.stringify(data);
  if (Buffer.byteLength(json) > MOST_DATA_BYTES)
    throw notStorable(`The data of a record must have at most ${MOST_DATA_BYTES} bytes as JSON.`);
  return dataOf(json);
}

/** @throws TypeError when the text is not a JSON object */
export function dataOf(json: string): JsonObject {
  const data = parseJson(json);
  if (typeof data !== "object" || data === null || Array.isArray(data))
    throw notStorable("The data of a record must be an object.");
  return data as JsonObject;
}

/**
 * Reads a stored record.
 *
 * @throws UnreadableRecordError when it is damaged, or of a newer version. It has no cause: a value that a store refuses
 * to write would blame the caller
 */
export function readRecord<T>(kind: string, read: () => T): T {
  try {
    return read();
  } catch {
    throw new UnreadableRecordError(kind);
  }
}

function ownerName(value: string): string {
  if (value === "") throw notStorable("A name must not be empty.");
  return nameText(value);
}

function matching(pattern: RegExp, what: string, value: string): string {
  if (!pattern.test(value)) throw notStorable(`The ${what} of a record must match ${pattern.source}.`);
  return value;
}
