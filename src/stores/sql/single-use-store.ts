import type { SingleUseRecord, SingleUseStore, WriteCall } from "../contracts.js";
import { copySingleUse, isKind, isRecordId, SINGLE_USE_OF_ONE } from "../credential-records.js";
import { integer } from "../records.js";
import { type AccountStoreDependencies, singleUseOf, singleUseRow } from "./account-rows.js";
import { deleteEnded } from "./clean-up.js";
import type { SqlEngine } from "./engines.js";
import { migrate } from "./migrations.js";
import { textOf } from "./rows.js";
import type { PortcullisDatabase, SingleUseRow } from "./schema.js";
import { read, settleLostCommit, writeTransaction } from "./transaction.js";

const TABLE = "portcullis_single_use";

/**
 * Records that can be used once, in a SQL database. `take` deletes the row; of several, the one whose DELETE found it
 * has won.
 *
 * @example
 * ```ts
 * import { openPostgres, SqlSingleUseStore } from "portcullis/sql";
 *
 * const { db, slowDb } = await openPostgres("postgres://app@localhost/app");
 * const singleUse = new SqlSingleUseStore(db, { slowDb }); // for createAccounts(security, { stores: { singleUse } })
 * ```
 */
export class SqlSingleUseStore implements SingleUseStore {
  readonly #db: PortcullisDatabase;
  readonly #slowDb: PortcullisDatabase;

  /** @param db the caller's database: `close` does not close it */
  constructor(db: PortcullisDatabase, options: Pick<AccountStoreDependencies, "slowDb"> = {}) {
    this.#db = db;
    this.#slowDb = options.slowDb ?? db;
  }

  async init(): Promise<void> {
    await migrate(this.#slowDb);
  }

  /**
   * Calls at once for a person who has no record yet have no row to wait at, so that more than ten may be stored; the next
   * call ends those that are too many.
   *
   * Cost: three statements, four when another record ends; they read the person's rows of this kind (ten) by an index.
   */
  async put(record: SingleUseRecord, call?: WriteCall): Promise<void> {
    const row = singleUseRow(copySingleUse(record));
    const work = async (transaction: PortcullisDatabase, engine: SqlEngine): Promise<boolean> => {
      const others = transaction
        .selectFrom(TABLE)
        .select("id")
        .where("owner_id", "=", row.owner_id)
        .where("kind", "=", row.kind)
        .where("id", "<>", row.id)
        .orderBy("expires_at", "desc")
        .orderBy("id", "desc");
      // Calls for one person run one after another from their first record on, and each sees what the last has stored.
      if (engine !== "sqlite") await others.forUpdate().execute();
      await transaction.insertInto(TABLE).values(row).execute();
      const ids = (await others.execute()).slice(SINGLE_USE_OF_ONE - 1).map(({ id }) => textOf(id));
      if (ids.length > 0) await transaction.deleteFrom(TABLE).where("id", "in", ids).execute();
      return true;
    };
    await settleLostCommit(writeTransaction(this.#db, work, call), async () => {
      const query = (db: PortcullisDatabase) => db.selectFrom(TABLE).select("id").where("id", "=", row.id);
      return (await read(this.#slowDb, (db) => query(db).executeTakeFirst())) !== undefined;
    });
  }

  /** Cost: one statement by the primary key, one row. */
  async get(kind: string, id: string, now: number): Promise<SingleUseRecord | undefined> {
    if (!isKind(kind) || !isRecordId(id)) return undefined;
    const row = await read(this.#db, (db) => rowInForce(db, kind, id, integer(now)).executeTakeFirst());
    return row && singleUseOf(row);
  }

  /** Cost: two statements by the primary key, one row. */
  async take(kind: string, id: string, now: number, call?: WriteCall): Promise<SingleUseRecord | undefined> {
    if (!isKind(kind) || !isRecordId(id)) return undefined;
    let taken: SingleUseRow | undefined;
    const work = async (transaction: PortcullisDatabase): Promise<boolean> => {
      const row = await rowInForce(transaction, kind, id, integer(now)).executeTakeFirst();
      taken = undefined;
      if (row === undefined) return true;
      const { numDeletedRows } = await transaction.deleteFrom(TABLE).where("id", "=", id).executeTakeFirst();
      if (numDeletedRows === 1n) taken = row;
      return true;
    };
    await settleLostCommit(writeTransaction(this.#db, work, call), async () => {
      // Somebody else may have taken it: a call whose COMMIT was lost has failed. Another connection shows that it is no outage.
      await read(this.#slowDb, (db) => db.selectFrom(TABLE).select("id").limit(1).execute());
      return false;
    });
    return taken && singleUseOf(taken);
  }

  /** Cost: two statements for each 500 rows, by an index. */
  deleteExpired(now: number): Promise<number> {
    return deleteEnded(this.#slowDb, TABLE, integer(now));
  }

  /** Does not close the database, which belongs to the caller. */
  async close(): Promise<void> {}
}

function rowInForce(db: PortcullisDatabase, kind: string, id: string, now: number) {
  return db.selectFrom(TABLE).selectAll().where("id", "=", id).where("kind", "=", kind).where("expires_at", ">", now);
}
