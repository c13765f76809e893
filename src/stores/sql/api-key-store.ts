import { setImmediate as yieldToOthers } from "node:timers/promises";
import type { ApiKeyStore, KeyDigest, StoredApiKey, UsageBatch } from "../contracts.js";
import { copyDigest, integer, isStorable, pageSize, text } from "../records.js";
import { migrate } from "./migrations.js";
import { apiKeyOf, apiKeyRow } from "./rows.js";
import type { PortcullisDatabase } from "./schema.js";
import { retryBusy, writeTransaction } from "./transaction.js";

/** Counts written before other work is let in between; the drivers are synchronous. */
const USAGE_PER_TURN = 100;

/** API keys in a SQL database. Each method is one statement or one transaction. */
export class SqlApiKeyStore implements ApiKeyStore {
  readonly #db: PortcullisDatabase;

  /** @param db stays the caller's: `close` leaves it open */
  constructor(db: PortcullisDatabase) {
    this.#db = db;
  }

  async init(): Promise<void> {
    await migrate(this.#db);
  }

  async insert(key: StoredApiKey): Promise<void> {
    const row = apiKeyRow(key);
    await writeTransaction(this.#db, (transaction) => transaction.insertInto("portcullis_api_keys").values(row).execute());
  }

  async get(id: string): Promise<StoredApiKey | undefined> {
    // Text that could not have been stored is not looked for: a driver might alter it into an id that exists.
    if (!isStorable(id)) return undefined;
    const row = await retryBusy(() => this.#db.selectFrom("portcullis_api_keys").selectAll().where("id", "=", id).executeTakeFirst());
    return row === undefined ? undefined : apiKeyOf(row);
  }

  async list(ownerId: string, page: { readonly limit: number; readonly after?: string | undefined }): Promise<StoredApiKey[]> {
    const { after } = page;
    if (!isStorable(ownerId)) return [];
    let query = this.#db
      .selectFrom("portcullis_api_keys")
      .selectAll()
      .where("owner_id", "=", ownerId)
      .orderBy("created_at", "desc")
      .orderBy("id", "desc")
      .limit(pageSize(page.limit));
    if (after !== undefined) {
      const cursor = await this.get(after);
      if (cursor === undefined || cursor.ownerId !== ownerId) return [];
      // The first condition is implied by the second; it is what lets the index begin at the cursor.
      query = query
        .where("created_at", "<=", cursor.createdAt)
        .where((eb) => eb.or([eb("created_at", "<", cursor.createdAt), eb("id", "<", cursor.id)]));
    }
    const rows = await retryBusy(() => query.execute());
    return rows.map(apiKeyOf);
  }

  async revoke(id: string, at: number, reason: string): Promise<boolean> {
    if (!isStorable(id)) return false;
    const change = { revoked_at: integer(at), revoked_reason: text(reason) };
    const result = await writeTransaction(this.#db, (transaction) =>
      transaction.updateTable("portcullis_api_keys").set(change).where("id", "=", id).where("revoked_at", "is", null).executeTakeFirst(),
    );
    return result.numUpdatedRows > 0n;
  }

  async rotate(id: string, successor: StoredApiKey, graceUntil: number): Promise<boolean> {
    if (!isStorable(id)) return false;
    const row = apiKeyRow(successor);
    const change = { rotated_to: row.id, grace_until: integer(graceUntil) };
    return writeTransaction(this.#db, async (transaction) => {
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
    });
  }

  async replaceHash(id: string, from: KeyDigest, to: KeyDigest): Promise<boolean> {
    if (!isStorable(id) || !isStorable(from.digest)) return false;
    const { algorithm, digest } = copyDigest(to);
    const result = await writeTransaction(this.#db, (transaction) =>
      transaction
        .updateTable("portcullis_api_keys")
        .set({ hash_algorithm: algorithm, hash_digest: digest })
        .where("id", "=", id)
        .where("hash_algorithm", "=", from.algorithm)
        .where("hash_digest", "=", from.digest)
        .executeTakeFirst(),
    );
    return result.numUpdatedRows > 0n;
  }

  /** All of the batch or nothing, so that a batch that failed can be tried again without counting twice. */
  async addUsage(batch: readonly UsageBatch[]): Promise<void> {
    const known = batch.filter(({ id }) => isStorable(id)).map(({ id, count, lastUsedAt }) => ({ id, count: integer(count), at: integer(lastUsedAt) }));
    if (known.length === 0) return;
    await writeTransaction(this.#db, async (transaction) => {
      for (const [index, { id, count, at }] of known.entries()) {
        if (index % USAGE_PER_TURN === USAGE_PER_TURN - 1) await yieldToOthers();
        await transaction
          .updateTable("portcullis_api_keys")
          .set((eb) => ({
            usage_count: eb("usage_count", "+", count),
            last_used_at: eb
              .case()
              .when(eb.or([eb("last_used_at", "is", null), eb("last_used_at", "<", at)]))
              .then(at)
              .else(eb.ref("last_used_at"))
              .end(),
          }))
          .where("id", "=", id)
          .execute();
      }
    });
  }

  async close(): Promise<void> {}
}
