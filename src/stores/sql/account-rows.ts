import type { Clock } from "../../core/clock.js";
import type { CredentialUpdate, SingleUseRecord, StoredCredential } from "../contracts.js";
import { copyCredential, copySingleUse, dataOf, readRecord } from "../credential-records.js";
import { textOf } from "./rows.js";
import type { CredentialRow, PortcullisDatabase, SingleUseRow } from "./schema.js";

/** Objects passed to a `SqlCredentialStore` or a `SqlSingleUseStore`. */
export interface AccountStoreDependencies {
  /** The time, for tests. Default: the clock of the machine. */
  readonly clock?: Clock | undefined;
  /** The same database with longer time limits, for work for which no request waits. `db` when absent. */
  readonly slowDb?: PortcullisDatabase | undefined;
}

/** @param one a copy (`copyCredential`) */
export function credentialRow(one: StoredCredential): CredentialRow {
  return {
    id: one.id,
    owner_id: one.ownerId,
    kind: one.kind,
    name: one.name,
    data: JSON.stringify(one.data),
    created_at: one.createdAt,
    confirmed_at: one.confirmedAt,
    used_at: one.usedAt,
    expires_at: one.expiresAt,
    counter: one.counter,
    failures: one.failures,
    version: one.version,
  };
}

/** The columns that an update sets. @param update a copy (`checkedChange`) */
export function updateRow({ version, ...update }: CredentialUpdate): Partial<CredentialRow> {
  const { data, confirmedAt, usedAt, expiresAt, counter, failures } = update;
  return {
    version: version + 1,
    ...(data === undefined ? {} : { data: JSON.stringify(data) }),
    ...(confirmedAt === undefined ? {} : { confirmed_at: confirmedAt }),
    ...(usedAt === undefined ? {} : { used_at: usedAt }),
    ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
    ...(counter === undefined ? {} : { counter }),
    ...(failures === undefined ? {} : { failures }),
  };
}

/** @throws UnreadableRecordError when the row is damaged, or of a newer version */
export function credentialOf(row: CredentialRow): StoredCredential {
  return readRecord("credential", () =>
    copyCredential({
      id: textOf(row.id),
      ownerId: textOf(row.owner_id),
      kind: textOf(row.kind),
      name: textOf(row.name),
      data: dataOf(textOf(row.data)),
      createdAt: Number(row.created_at),
      confirmedAt: numberOrNull(row.confirmed_at),
      usedAt: numberOrNull(row.used_at),
      expiresAt: numberOrNull(row.expires_at),
      counter: Number(row.counter),
      failures: Number(row.failures),
      version: Number(row.version),
    }),
  );
}

/** @param record a copy (`copySingleUse`) */
export function singleUseRow(record: SingleUseRecord): SingleUseRow {
  return {
    id: record.id,
    kind: record.kind,
    owner_id: record.ownerId,
    data: JSON.stringify(record.data),
    expires_at: record.expiresAt,
  };
}

/** @throws UnreadableRecordError when the row is damaged, or of a newer version */
export function singleUseOf(row: SingleUseRow): SingleUseRecord {
  return readRecord("single-use record", () =>
    copySingleUse({
      id: textOf(row.id),
      kind: textOf(row.kind),
      ownerId: textOf(row.owner_id),
      data: dataOf(textOf(row.data)),
      expiresAt: Number(row.expires_at),
    }),
  );
}

function numberOrNull(value: number | bigint | string | null): number | null {
  return value === null ? null : Number(value);
}
