import { UnreadableRecordError } from "../health/store-fault.js";
import type { ApiKeyStore, KeyDigest, StoredApiKey, UsageBatch, WriteCall } from "../contracts.js";
import { mapInTurns } from "../in-turns.js";
import { copyDigest, endedByMark, endingIds, integer, isStorable, pageSize, text } from "../records.js";
import { engineOf, type SqlEngine } from "./engines.js";
import { migrate } from "./migrations.js";
import { apiKeyOf, apiKeyRow, textOf } from "./rows.js";
import type { ApiKeyRow, PortcullisDatabase } from "./schema.js";
import { read, settleLostCommit, write, writeTransaction } from "./transaction.js";
import { addUsage, sumUsage } from "./usage.js";

/** Most ids in one query. A page of the routes needs one or two queries. */
const IDS_PER_QUERY = 500;
/** Most queries of one page, when records that cannot be read leave places in it. */
const MOST_ROUNDS = 10;

/** The position of a key in the order of a page. */
type Cursor = Pick<StoredApiKey, "createdAt" | "id">;

/** Objects passed to a `SqlApiKeyStore`. */
export interface SqlApiKeyStoreDependencies {
  /** The same database with longer time limits, for work for which no request waits. `db` when absent. */
  readonly slowDb?: PortcullisDatabase | undefined;
}

/**
 * API keys in a SQL database. Each method is one statement or one transaction.
 *
 * @example
 * ```ts
 * import { ApiKeyService } from "portcullis";
 * import { openPostgres, SqlApiKeyStore } from "portcullis/sql";
 *
 * const { db } = await openPostgres("postgres://app@localhost/app");
 * const service = new ApiKeyService({ store: new SqlApiKeyStore(db) });
 * ```
 */
export class SqlApiKeyStore implements ApiKeyStore {
  readonly #db: PortcullisDatabase;
  readonly #slowDb: PortcullisDatabase;

  /** @param db the caller's database: `close` does not close it */
  constructor(db: PortcullisDatabase, options: SqlApiKeyStoreDependencies = {}) {
    this.#db = db;
    this.#slowDb = options.slowDb ?? db;
  }

  async init(): Promise<void> {
    await migrate(this.#slowDb);
  }

  async insert(key: StoredApiKey, call?: WriteCall): Promise<void> {
    const row = apiKeyRow(key);
    const work = async (transaction: PortcullisDatabase): Promise<boolean> => {
      await transaction.insertInto("portcullis_api_keys").values(row).execute();
      return true;
    };
    await settleLostCommit(writeTransaction(this.#db, work, call), async () => {
      const found = await read(this.#slowDb, (db) =>
        db.selectFrom("portcullis_api_keys").select("id").where("id", "=", row.id).executeTakeFirst(),
      );
      return found !== undefined;
    });
  }

  async get(id: string): Promise<StoredApiKey | undefined> {
    // Text that could not have been stored is not looked up: a driver might alter it into an id that exists.
    if (!isStorable(id)) return undefined;
    const row = await read(this.#db, (db) =>
      db.selectFrom("portcullis_api_keys").selectAll().where("id", "=", id).executeTakeFirst(),
    );
    return row === undefined ? undefined : (await this.#withMarks([markedKey(row)]))[0];
  }

  async list(
    ownerId: string,
    page: { readonly limit: number; readonly after?: string | undefined },
  ): Promise<StoredApiKey[]> {
    const { after } = page;
    if (!isStorable(ownerId)) return [];
    const before = after === undefined ? undefined : await this.get(after);
    if (after !== undefined && before?.ownerId !== ownerId) return [];
    let cursor: Cursor | undefined = before;
    const limit = pageSize(page.limit);
    const keys: MarkedKey[] = [];
    // A page shorter than its limit is the last one, so others take the places of records that cannot be read.
    for (let round = 0; round < MOST_ROUNDS && keys.length < limit; round += 1) {
      const wanted = limit - keys.length;
      const rows = await this.#rows(ownerId, wanted, cursor);
      keys.push(...(await mapInTurns(rows, readableKey)).flat());
      const last = rows.at(-1);
      if (last === undefined || rows.length < wanted) break;
      cursor = { createdAt: Number(last.created_at), id: textOf(last.id) };
    }
    return this.#withMarks(keys);
  }

  /** The rows of an owner's keys in the order of a page, those after the cursor. */
  async #rows(ownerId: string, limit: number, cursor: Cursor | undefined): Promise<ApiKeyRow[]> {
    let query = this.#db
      .selectFrom("portcullis_api_keys")
      .selectAll()
      .where("owner_id", "=", ownerId)
      .orderBy("created_at", "desc")
      .orderBy("id", "desc")
      .limit(limit);
    if (cursor !== undefined) {
      // The second condition implies the first, which lets the index scan begin at the cursor.
      query = query
        .where("created_at", "<=", cursor.createdAt)
        .where((eb) => eb.or([eb("created_at", "<", cursor.createdAt), eb("id", "<", cursor.id)]));
    }
    return read(this.#db, () => query.execute());
  }

  async revoke(id: string, at: number, reason: string, descendants = false): Promise<boolean> {
    if (!isStorable(id)) return false;
    const change = { revoked_at: integer(at), revoked_reason: text(reason) };
    return writeTransaction(this.#db, async (transaction) => {
      const revoked = await transaction
        .updateTable("portcullis_api_keys")
        .set(change)
        .where("id", "=", id)
        .where("revoked_at", "is", null)
        .executeTakeFirst();
      const changed = revoked.numUpdatedRows > 0n;
      const row = await transaction
        .selectFrom("portcullis_api_keys")
        .select(["first_id", "rotated_to"])
        .where("id", "=", id)
        .executeTakeFirst();
      if (row === undefined || !(descendants || (changed && row.rotated_to === null))) return changed;
      const first = row.first_id === null ? id : textOf(row.first_id);
      const marked = await transaction
        .updateTable("portcullis_api_keys")
        .set({ line_ended_at: at })
        .where("id", "=", first)
        .where("line_ended_at", "is", null)
        .executeTakeFirst();
      return changed || marked.numUpdatedRows > 0n;
    });
  }

  async rotate(id: string, successor: StoredApiKey, graceUntil: number, call?: WriteCall): Promise<boolean> {
    if (!isStorable(id)) return false;
    const row = apiKeyRow(successor);
    const change = { rotated_to: row.id, grace_until: integer(graceUntil) };
    const work = async (transaction: PortcullisDatabase): Promise<boolean> => {
      const result = await transaction
        .updateTable("portcullis_api_keys")
        .set(change)
        .where("id", "=", id)
        .where("revoked_at", "is", null)
        .where("rotated_to", "is", null)
        .executeTakeFirst();
      if (result.numUpdatedRows === 0n) return false;
      await transaction.insertInto("portcullis_api_keys").values(row).execute();
      return true;
    };
    return settleLostCommit(writeTransaction(this.#db, work, call), async () => {
      const engine = await engineOf(this.#slowDb);
      const found = await read(this.#slowDb, (db) => {
        const query = db.selectFrom("portcullis_api_keys").select("rotated_to").where("id", "=", id);
        return (engine === "sqlite" ? query : query.forUpdate()).executeTakeFirst();
      });
      return found?.rotated_to != null && textOf(found.rotated_to) === row.id;
    });
  }

  async replaceHash(id: string, from: KeyDigest, to: KeyDigest): Promise<boolean> {
    if (!isStorable(id) || !isStorable(from.digest)) return false;
    const { algorithm, digest } = copyDigest(to);
    const result = await write(this.#db, (db) =>
      db
        .updateTable("portcullis_api_keys")
        .set({ hash_algorithm: algorithm, hash_digest: digest })
        .where("id", "=", id)
        .where("hash_algorithm", "=", from.algorithm)
        .where("hash_digest", "=", from.digest)
        .executeTakeFirst(),
    );
    return result.numUpdatedRows > 0n;
  }

  /**
   * Adds the whole batch or nothing, so that a failed batch can be retried without counting twice. A batch whose COMMIT
   * was lost with its connection counts as failed, although it may have been counted: a sum does not show what was
   * added to it.
   */
  async addUsage(batch: readonly UsageBatch[], call?: WriteCall): Promise<void> {
    const uses = sumUsage(batch);
    if (uses.length === 0) return;
    const work = async (transaction: PortcullisDatabase, engine: SqlEngine): Promise<boolean> => {
      await addUsage(transaction, engine, uses);
      return true;
    };
    await settleLostCommit(writeTransaction(this.#db, work, call), async () => {
      // Another connection answers: losing one connection is not an outage.
      await read(this.#slowDb, (db) => db.selectFrom("portcullis_api_keys").select("id").limit(1).execute());
      return false;
    });
  }

  /** Does not close the database, which belongs to the caller. */
  async close(): Promise<void> {}

  /**
   * The keys, with those that a mark has ended as revoked. A key that was not created with another key and that
   * replaced none costs no query.
   */
  async #withMarks(keys: readonly MarkedKey[]): Promise<StoredApiKey[]> {
    const ids = [...new Set(keys.flatMap(({ key }) => endingIds(key)))];
    const ended = new Map<string, number>();
    for (let from = 0; from < ids.length; from += IDS_PER_QUERY) {
      const some = ids.slice(from, from + IDS_PER_QUERY);
      const rows = await read(this.#db, (db) =>
        db
          .selectFrom("portcullis_api_keys")
          .select(["id", "line_ended_at"])
          .where("id", "in", some)
          .where("line_ended_at", "is not", null)
          .execute(),
      );
      for (const row of rows) ended.set(textOf(row.id), Number(row.line_ended_at));
    }
    return keys.map(({ key, endedAt }) =>
      endedByMark(
        key,
        endedAt ??
          endingIds(key)
            .map((id) => ended.get(id))
            .find((at) => at !== undefined),
      ),
    );
  }
}

/** A key, with the mark on its own record: the record of the first key of a rotation line carries the line's mark. */
interface MarkedKey {
  readonly key: StoredApiKey;
  readonly endedAt: number | undefined;
}

function markedKey(row: ApiKeyRow): MarkedKey {
  return { key: apiKeyOf(row), endedAt: row.line_ended_at === null ? undefined : Number(row.line_ended_at) };
}

/** A list omits a key whose record cannot be read: the owner must still be able to see the others. */
function readableKey(row: ApiKeyRow): MarkedKey[] {
  try {
    return [markedKey(row)];
  } catch (error) {
    if (error instanceof UnreadableRecordError) return [];
    throw error;
  }
}
