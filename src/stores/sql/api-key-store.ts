import type { ExpressionBuilder } from "kysely";
import type {
  AllKeysPage,
  ApiKeyStore,
  KeyChange,
  KeyDigest,
  StoredApiKey,
  UsageBatch,
  WriteCall,
} from "../contracts.js";
import { copyDigest, integer, isStorable, nameText, text } from "../records.js";
import { engineOf, type SqlEngine } from "./engines.js";
import { keysOfAll, keysOfOwner } from "./key-pages.js";
import { keyRows, markedKey, NOT_ENDED_WITH_OWNER, withMarks } from "./marked-keys.js";
import { migrate } from "./migrations.js";
import { markOwner, writeEndsOf } from "./owner-marks.js";
import { apiKeyRow, keyChangeRow, textOf } from "./rows.js";
import type { ApiKeyRow, PortcullisDatabase, PortcullisTables } from "./schema.js";
import { hasLost, read, settleLostCommit, write, writeTransaction } from "./transaction.js";
import { addUsage, sumUsage } from "./usage.js";

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
      const maker = key.path.length === 0 ? undefined : await ownerMarkOf(transaction, row.made_by);
      await transaction
        .insertInto("portcullis_api_keys")
        .values(({ selectFrom }) => ({
          ...row,
          // A key made with another key has that key's mark: a mark written meanwhile ends both.
          owner_mark:
            maker === undefined
              ? selectFrom("portcullis_owner_marks").select("mark").where("owner_id", "=", row.owner_id)
              : maker.mark,
        }))
        .execute();
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
    const row = await read(this.#db, (db) => keyRows(db).where("portcullis_api_keys.id", "=", id).executeTakeFirst());
    return row === undefined ? undefined : (await withMarks(this.#db, [markedKey(row)]))[0];
  }

  async list(
    ownerId: string,
    page: { readonly limit: number; readonly after?: string | undefined },
  ): Promise<StoredApiKey[]> {
    const { after } = page;
    if (!isStorable(ownerId)) return [];
    const before = after === undefined ? undefined : await this.get(after);
    if (after !== undefined && before?.ownerId !== ownerId) return [];
    return keysOfOwner(this.#db, ownerId, page.limit, before);
  }

  async listAll(page: AllKeysPage): Promise<StoredApiKey[]> {
    return keysOfAll(this.#db, page);
  }

  async update(id: string, change: KeyChange, call?: WriteCall): Promise<boolean> {
    if (!isStorable(id)) return false;
    const row = keyChangeRow(change);
    const work = async (transaction: PortcullisDatabase): Promise<boolean> => {
      const result = await transaction
        .updateTable("portcullis_api_keys")
        .set({ ...row, id })
        .where("id", "=", id)
        .where("revoked_at", "is", null)
        .where("rotated_to", "is", null)
        .where(NOT_ENDED_WITH_OWNER)
        .executeTakeFirst();
      if (result.numUpdatedRows === 0n) return false;
      if (row.expires_at !== undefined) await this.#noteExpiryOfLine(transaction, id, row.expires_at);
      return true;
    };
    return settleLostCommit(writeTransaction(this.#db, work, call), async () => {
      const engine = await engineOf(this.#slowDb);
      const found = await read(this.#slowDb, (db) => {
        const query = db.selectFrom("portcullis_api_keys").selectAll().where("id", "=", id);
        return (engine === "sqlite" ? query : query.forUpdate()).executeTakeFirst();
      });
      return (
        found !== undefined &&
        Object.entries(row).every(([column, value]) => isSame(found[column as keyof ApiKeyRow], value))
      );
    });
  }

  async revokeAllOf(
    ownerId: string,
    at: number,
    reason: string,
    {
      keep,
      unlessEndedSince,
    }: { readonly keep?: string | undefined; readonly unlessEndedSince?: number | undefined } = {},
  ): Promise<undefined> {
    const revocation = { ownerId: nameText(ownerId), at: integer(at), reason: text(reason), keep, unlessEndedSince };
    await writeTransaction(this.#db, (transaction, engine) => markOwner(transaction, engine, revocation));
  }

  async writeEndsOf(ownerId: string, onTurn: (count: number) => boolean): Promise<void> {
    await writeEndsOf(this.#slowDb, nameText(ownerId), onTurn);
  }

  async revoke(id: string, at: number, reason: string, descendants = false): Promise<boolean> {
    if (!isStorable(id)) return false;
    const change = { revoked_at: integer(at), revoked_reason: text(reason), due_at: null, idle_at: null };
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
    const change = { rotated_to: row.id, grace_until: integer(graceUntil), due_at: null, idle_at: null };
    const isUnchanged = (eb: ExpressionBuilder<PortcullisTables, "portcullis_api_keys">) =>
      eb.and([
        eb("id", "=", id),
        eb("revoked_at", "is", null),
        eb("rotated_to", "is", null),
        eb("name", "=", row.name),
        eb("scopes", "=", row.scopes),
        eb("roles", "=", row.roles),
        eb("allow_list", "=", row.allow_list),
        eb("rate_limit", row.rate_limit === null ? "is" : "=", row.rate_limit),
        eb("metadata", "=", row.metadata),
        NOT_ENDED_WITH_OWNER,
      ]);
    const isLost = await hasLost(this.#db, (db) =>
      db.selectFrom("portcullis_api_keys").select("id").where(isUnchanged).executeTakeFirst(),
    );
    if (isLost) return false;
    const work = async (transaction: PortcullisDatabase): Promise<boolean> => {
      const result = await transaction
        .updateTable("portcullis_api_keys")
        .set(change)
        .where(isUnchanged)
        .executeTakeFirst();
      if (result.numUpdatedRows === 0n) return false;
      // The successor has the mark of its predecessor: a mark written meanwhile ends both.
      const old = await ownerMarkOf(transaction, id);
      await transaction
        .insertInto("portcullis_api_keys")
        .values({ ...row, owner_mark: old?.mark ?? null })
        .execute();
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

  /** Keys made with the line of this key end with it, however many they are: their records are not changed. */
  async #noteExpiryOfLine(
    transaction: PortcullisDatabase,
    id: string,
    expiresAt: ApiKeyRow["expires_at"],
  ): Promise<void> {
    const row = await transaction
      .selectFrom("portcullis_api_keys")
      .select("first_id")
      .where("id", "=", id)
      .executeTakeFirst();
    await transaction
      .updateTable("portcullis_api_keys")
      .set({ line_expires_at: expiresAt })
      .where("id", "=", row?.first_id == null ? id : textOf(row.first_id))
      .execute();
  }
}

/** The mark that the key of this id has, if there is such a key. */
async function ownerMarkOf(
  transaction: PortcullisDatabase,
  id: string | null,
): Promise<{ readonly mark: string | null } | undefined> {
  if (id === null) return undefined;
  const row = await transaction
    .selectFrom("portcullis_api_keys")
    .select("owner_mark")
    .where("id", "=", id)
    .executeTakeFirst();
  return row && { mark: row.owner_mark === null ? null : textOf(row.owner_mark) };
}

function isSame(stored: ApiKeyRow[keyof ApiKeyRow], written: ApiKeyRow[keyof ApiKeyRow] | undefined): boolean {
  if (stored === null || written == null) return stored === written;
  return typeof written === "string" ? textOf(stored as string) === written : Number(stored) === Number(written);
}
