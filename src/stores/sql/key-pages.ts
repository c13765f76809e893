import { sql } from "kysely";
import type { AllKeysPage, KeyPosition, StoredApiKey } from "../contracts.js";
import { mapInTurns } from "../in-turns.js";
import { integer, isStorable, pageSize } from "../records.js";
import { keyRows, type KeyRows, readableKey, withMarks } from "./marked-keys.js";
import { textOf } from "./rows.js";
import type { ApiKeyRow, PortcullisDatabase } from "./schema.js";
import { read } from "./transaction.js";

/** Most queries of one page, when keys that are not shown leave places in it: with `MOST_ROWS`, for 200 000 such keys. */
const MOST_ROUNDS = 200;
/** Most keys that one query reads. Each reads twice as many as the one before, so that few queries are needed. */
const MOST_ROWS = 1000;

/** An order of keys: by a time, then by id. */
interface Order {
  readonly column: "created_at" | "made_at" | "due_at" | "idle_at";
  readonly direction: "asc" | "desc";
}

/** The place of a key in an order. */
interface Cursor {
  readonly at: number;
  readonly id: string;
}

const NEWEST_FIRST: Order = { column: "created_at", direction: "desc" };
const NEWEST_OF_ALL_FIRST: Order = { column: "made_at", direction: "desc" };

/** No call has ended all keys of the owner since. As a `case`, because PostgreSQL expects next to no row to meet the "or". */
const IS_IN_FORCE = sql<boolean>`case when owner.mark is null then 1 = 1 else owner.mark = portcullis_api_keys.owner_mark end`;

/** The owner's keys, newest first, after the cursor. */
export function keysOfOwner(
  db: PortcullisDatabase,
  ownerId: string,
  limit: number,
  after: KeyPosition | undefined,
): Promise<StoredApiKey[]> {
  const cursor = after && { at: after.createdAt, id: after.id };
  return page(db, NEWEST_FIRST, limit, cursor, (rows) => rows.where("portcullis_api_keys.owner_id", "=", ownerId));
}

/** See `ApiKeyStore.listAll`. */
export async function keysOfAll(
  db: PortcullisDatabase,
  { limit, after, expires, unusedSince }: AllKeysPage,
): Promise<StoredApiKey[]> {
  if (after !== undefined && !isStorable(after.id)) return [];
  if (expires === undefined && unusedSince === undefined)
    return page(db, NEWEST_OF_ALL_FIRST, limit, after && { at: after.createdAt, id: after.id }, (rows) => rows);
  const order: Order = { column: expires === undefined ? "idle_at" : "due_at", direction: "asc" };
  const at = expires === undefined ? (after?.lastUsedAt ?? after?.createdAt) : after?.expiresAt;
  const choose = (rows: KeyRows): KeyRows => {
    let chosen = rows.where(IS_IN_FORCE);
    if (expires !== undefined)
      chosen = chosen
        .where("portcullis_api_keys.due_at", ">=", integer(expires.from))
        .where("portcullis_api_keys.due_at", "<", integer(expires.before));
    return unusedSince === undefined ? chosen : chosen.where("portcullis_api_keys.idle_at", "<", integer(unusedSince));
  };
  const isShown = (key: StoredApiKey): boolean =>
    key.revokedAt === null && (expires === undefined || (key.expiresAt ?? Infinity) >= expires.from);
  return page(db, order, limit, after && { at: at ?? 0, id: after.id }, choose, isShown);
}

/** A page shorter than its limit is the last one, so others take the places of keys that are not shown. */
async function page(
  db: PortcullisDatabase,
  order: Order,
  size: number,
  after: Cursor | undefined,
  choose: (rows: KeyRows) => KeyRows,
  isShown: (key: StoredApiKey) => boolean = () => true,
): Promise<StoredApiKey[]> {
  const limit = pageSize(size);
  const keys: StoredApiKey[] = [];
  let cursor = after;
  let wanted = limit;
  for (let round = 0; round < MOST_ROUNDS && keys.length < limit; round += 1) {
    const query = inOrder(choose(keyRows(db)), order, cursor).limit(wanted);
    const rows = await read(db, () => query.execute());
    const found = await withMarks(db, (await mapInTurns(rows, readableKey)).flat());
    keys.push(...found.filter(isShown));
    const last = rows.at(-1);
    if (last === undefined || rows.length < wanted) break;
    cursor = cursorOf(last, order);
    wanted = Math.min(2 * wanted, MOST_ROWS);
  }
  return keys.slice(0, limit);
}

function inOrder(rows: KeyRows, { column, direction }: Order, cursor: Cursor | undefined): KeyRows {
  const time = `portcullis_api_keys.${column}` as const;
  const ordered = rows.orderBy(time, direction).orderBy("portcullis_api_keys.id", direction);
  if (cursor === undefined) return ordered;
  const [beyond, from] = direction === "asc" ? ([">", ">="] as const) : (["<", "<="] as const);
  // The second condition implies the first, which lets the index scan begin at the cursor. As a comparison of pairs, not
  // as "or", for which MariaDB would merge two indexes and sort the result.
  return ordered
    .where(time, from, cursor.at)
    .where((eb) => eb(eb.refTuple(time, "portcullis_api_keys.id"), beyond, eb.tuple(cursor.at, cursor.id)));
}

function cursorOf(row: ApiKeyRow, { column }: Order): Cursor {
  return { at: Number(row[column]), id: textOf(row.id) };
}
