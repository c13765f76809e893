import { sql } from "kysely";
import { UnreadableRecordError } from "../health/store-fault.js";
import type { StoredApiKey } from "../contracts.js";
import { endedByMark, endingIds, expiringWith } from "../records.js";
import { apiKeyOf, textOf } from "./rows.js";
import type { ApiKeyRow, PortcullisDatabase } from "./schema.js";
import { read } from "./transaction.js";

/** Most ids in one query. A page of the routes needs one or two queries. */
const IDS_PER_QUERY = 500;

/** The row of a key, with the mark of its owner. */
interface RowWithOwner extends ApiKeyRow {
  readonly current_mark: string | null;
  readonly owner_revoked_at: ApiKeyRow["revoked_at"];
  readonly owner_reason: string | null;
}

/** What a mark says of a key. */
interface LineMark {
  readonly endedAt: number | undefined;
  readonly expiresAt: number | undefined;
}

/**
 * A key, with the mark on its own record: the record of the first key of a rotation line carries the line's mark. A key
 * that the mark of its owner has ended is already shown as revoked.
 */
export interface MarkedKey {
  readonly key: StoredApiKey;
  readonly own: LineMark;
}

/** A query for rows of keys, each with the mark of its owner. */
export type KeyRows = ReturnType<typeof joined>;

export function keyRows(db: PortcullisDatabase): KeyRows {
  return joined(db);
}

function joined(db: PortcullisDatabase) {
  return db
    .selectFrom("portcullis_api_keys")
    .leftJoin("portcullis_owner_marks as owner", "owner.owner_id", "portcullis_api_keys.owner_id")
    .selectAll("portcullis_api_keys")
    .select(["owner.mark as current_mark", "owner.revoked_at as owner_revoked_at", "owner.reason as owner_reason"]);
}

/** The condition that no call has ended all keys of the owner since the key was inserted. */
export const NOT_ENDED_WITH_OWNER = sql<boolean>`not exists (select 1 from portcullis_owner_marks as mark_of_owner where mark_of_owner.owner_id = portcullis_api_keys.owner_id and (portcullis_api_keys.owner_mark is null or portcullis_api_keys.owner_mark <> mark_of_owner.mark))`;

/** @throws UnreadableRecordError when the row is damaged, or of a newer version */
export function markedKey(row: RowWithOwner): MarkedKey {
  const { current_mark: current, owner_mark: mark } = row;
  const isEnded = current !== null && (mark === null || textOf(mark) !== textOf(current));
  const key = apiKeyOf(row);
  return {
    key: isEnded
      ? endedByMark(key, Number(row.owner_revoked_at), row.owner_reason === null ? undefined : textOf(row.owner_reason))
      : key,
    own: lineMark(row),
  };
}

/** A list omits a key whose record cannot be read: its owner must still be able to see the others. */
export function readableKey(row: RowWithOwner): MarkedKey[] {
  try {
    return [markedKey(row)];
  } catch (error) {
    if (error instanceof UnreadableRecordError) return [];
    throw error;
  }
}

/**
 * The keys, with those that a mark has ended as revoked, none expiring after a line that it belongs to. A key that was
 * not created with another key and that replaced none costs no query.
 */
export async function withMarks(db: PortcullisDatabase, keys: readonly MarkedKey[]): Promise<StoredApiKey[]> {
  const ids = [...new Set(keys.flatMap(({ key }) => endingIds(key)))];
  const marks = new Map<string, LineMark>();
  for (let from = 0; from < ids.length; from += IDS_PER_QUERY) {
    const some = ids.slice(from, from + IDS_PER_QUERY);
    const rows = await read(db, (one) =>
      one
        .selectFrom("portcullis_api_keys")
        .select(["id", "line_ended_at", "line_expires_at"])
        .where("id", "in", some)
        .where((eb) => eb.or([eb("line_ended_at", "is not", null), eb("line_expires_at", "is not", null)]))
        .execute(),
    );
    for (const row of rows) marks.set(textOf(row.id), lineMark(row));
  }
  return keys.map(({ key, own }) => {
    const all = [own, ...endingIds(key).map((id) => marks.get(id))];
    const endedAt = all.find((mark) => mark?.endedAt !== undefined)?.endedAt;
    return all.reduce((shown, mark) => expiringWith(shown, mark?.expiresAt), endedByMark(key, endedAt));
  });
}

function lineMark(row: Pick<ApiKeyRow, "line_ended_at" | "line_expires_at">): LineMark {
  const { line_ended_at: ended, line_expires_at: expires } = row;
  return {
    endedAt: ended === null ? undefined : Number(ended),
    expiresAt: expires === null ? undefined : Number(expires),
  };
}
