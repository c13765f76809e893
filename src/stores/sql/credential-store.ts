import { systemClock, type Clock } from "../../core/clock.js";
import type { CredentialChange, CredentialStore, StoredCredential, WriteCall } from "../contracts.js";
import {
  checkedChange,
  type CheckedCredentialChange,
  CREDENTIALS_OF_ONE,
  isCredentialId,
  isKind,
} from "../credential-records.js";
import { StoreFullError } from "../health/store-full.js";
import { integer, isStorable } from "../records.js";
import { type AccountStoreDependencies, credentialOf, credentialRow, updateRow } from "./account-rows.js";
import { deleteEnded } from "./clean-up.js";
import type { SqlEngine } from "./engines.js";
import { migrate } from "./migrations.js";
import { textOf } from "./rows.js";
import type { CredentialRow, PortcullisDatabase } from "./schema.js";
import { read, settleLostCommit, writeTransaction } from "./transaction.js";

const TABLE = "portcullis_credentials";

/** Thrown inside the transaction of a change, which it rolls back: a condition does not hold. */
const NOT_AS_READ = new Error("A credential is not as the change expects it.");

/**
 * Credentials in a SQL database. Each write is one transaction, and the number of rows that its statements change
 * decides: none reads first and writes later.
 *
 * @example
 * ```ts
 * import { openPostgres, SqlCredentialStore } from "portcullis/sql";
 *
 * const { db, slowDb } = await openPostgres("postgres://app@localhost/app");
 * const credentials = new SqlCredentialStore(db, { slowDb }); // for createAccounts(security, { stores: { credentials } })
 * ```
 */
export class SqlCredentialStore implements CredentialStore {
  readonly #db: PortcullisDatabase;
  readonly #slowDb: PortcullisDatabase;
  readonly #clock: Clock;

  /** @param db the caller's database: `close` does not close it */
  constructor(db: PortcullisDatabase, options: AccountStoreDependencies = {}) {
    this.#db = db;
    this.#slowDb = options.slowDb ?? db;
    this.#clock = options.clock ?? systemClock;
  }

  async init(): Promise<void> {
    await migrate(this.#slowDb);
  }

  /** Cost: one statement by an index, at most 100 rows. */
  async listOf(ownerId: string): Promise<readonly StoredCredential[]> {
    if (!isStorable(ownerId)) return [];
    const rows = await read(this.#db, (db) =>
      db.selectFrom(TABLE).selectAll().where("owner_id", "=", ownerId).orderBy("created_at").orderBy("id").execute(),
    );
    return Object.freeze(rows.map(credentialOf));
  }

  /** Cost: one statement by the unique index, one row. */
  async find(kind: string, name: string): Promise<StoredCredential | undefined> {
    if (!isKind(kind) || !isStorable(name)) return undefined;
    const row = await read(this.#db, (db) =>
      db.selectFrom(TABLE).selectAll().where("kind", "=", kind).where("name", "=", name).executeTakeFirst(),
    );
    return row && credentialOf(row);
  }

  /**
   * Cost: one statement for all that is removed, one for the kinds, one for each update; with new ones three more, which
   * read the person's rows (at most 100) by an index.
   */
  async change(ownerId: string, change: CredentialChange, call?: WriteCall): Promise<boolean> {
    const checked = checkedChange(ownerId, change);
    if (checked === undefined) return false;
    const now = this.#clock.now();
    const work = async (transaction: PortcullisDatabase, engine: SqlEngine): Promise<boolean> => {
      if (checked.insert.length > 0) await lockOwn(transaction, engine, ownerId);
      await removeFrom(transaction, ownerId, checked);
      for (const update of checked.update) {
        const { numUpdatedRows } = await transaction
          .updateTable(TABLE)
          .set(updateRow(update))
          .where("id", "=", update.id)
          .where("owner_id", "=", ownerId)
          .where("version", "=", update.version)
          .executeTakeFirst();
        if (numUpdatedRows !== 1n) throw NOT_AS_READ;
      }
      if (checked.insert.length > 0) await insertInto(transaction, engine, ownerId, checked.insert, now);
      return true;
    };
    const [first] = checked.insert;
    try {
      return await settleLostCommit(writeTransaction(this.#db, work, call), () =>
        // A change that inserts nothing leaves no trace that only it can have left.
        first === undefined ? this.#isInDoubt() : this.#isThere(credentialRow(first)),
      );
    } catch (error) {
      if (error === NOT_AS_READ) return false;
      throw error;
    }
  }

  /** Cost: one statement by the primary key, one row. */
  async advance(id: string, counter: number, usedAt: number, call?: WriteCall): Promise<boolean> {
    const used = { counter: integer(counter), used_at: integer(usedAt), failures: 0 };
    if (!isCredentialId(id)) return false;
    const work = async (transaction: PortcullisDatabase): Promise<boolean> => {
      const { numUpdatedRows } = await transaction
        .updateTable(TABLE)
        .set(used)
        .where("id", "=", id)
        .where("counter", "<", counter)
        .executeTakeFirst();
      return numUpdatedRows === 1n;
    };
    return settleLostCommit(writeTransaction(this.#db, work, call), () => this.#isInDoubt());
  }

  /** Cost: two statements by the primary key, one row. */
  async addFailure(id: string, call?: WriteCall): Promise<number | undefined> {
    if (!isCredentialId(id)) return undefined;
    let failures: number | undefined;
    const work = async (transaction: PortcullisDatabase): Promise<boolean> => {
      await transaction
        .updateTable(TABLE)
        .set((eb) => ({ failures: eb("failures", "+", 1) }))
        .where("id", "=", id)
        .executeTakeFirst();
      // The row is locked by now, so nobody else has counted since.
      const row = await transaction.selectFrom(TABLE).select("failures").where("id", "=", id).executeTakeFirst();
      failures = row && Number(row.failures);
      return true;
    };
    await settleLostCommit(writeTransaction(this.#db, work, call), () => this.#isInDoubt());
    return failures;
  }

  /** Cost: one statement by the primary key, one row. */
  async clearFailures(id: string, call?: WriteCall): Promise<void> {
    if (!isCredentialId(id)) return;
    const work = async (transaction: PortcullisDatabase): Promise<boolean> => {
      await transaction
        .updateTable(TABLE)
        .set({ failures: 0 })
        .where("id", "=", id)
        .where("failures", "<>", 0)
        .execute();
      return true;
    };
    await settleLostCommit(writeTransaction(this.#db, work, call), () => this.#isInDoubt());
  }

  /** Cost: two statements for each 500 rows, by an index. */
  deleteExpired(now: number): Promise<number> {
    return deleteEnded(this.#slowDb, TABLE, integer(now));
  }

  /** Does not close the database, which belongs to the caller. */
  async close(): Promise<void> {}

  /** Whether this row is there, and nobody else's: its id was drawn for it. */
  async #isThere({ id, owner_id, kind, name }: CredentialRow): Promise<boolean> {
    const found = await read(this.#slowDb, (db) =>
      db.selectFrom(TABLE).select(["owner_id", "kind", "name"]).where("id", "=", id).executeTakeFirst(),
    );
    return (
      found !== undefined &&
      textOf(found.owner_id) === owner_id &&
      textOf(found.kind) === kind &&
      textOf(found.name) === name
    );
  }

  /**
   * Of several calls at once only one may win, and the row does not show which: a call whose COMMIT was lost has failed.
   * When the database answers on another connection, the loss is no outage.
   */
  async #isInDoubt(): Promise<false> {
    await read(this.#slowDb, (db) => db.selectFrom(TABLE).select("id").limit(1).execute());
    return false;
  }
}

/** Locks the person's rows in one order, so that changes that add some run one after another and are counted. */
async function lockOwn(transaction: PortcullisDatabase, engine: SqlEngine, ownerId: string): Promise<void> {
  if (engine === "sqlite") return;
  await transaction
    .selectFrom(TABLE)
    .select("id")
    .where("owner_id", "=", ownerId)
    .orderBy("created_at")
    .orderBy("id")
    .forUpdate()
    .execute();
}

async function removeFrom(
  transaction: PortcullisDatabase,
  ownerId: string,
  { remove, removeKinds }: CheckedCredentialChange,
): Promise<void> {
  const own = transaction.deleteFrom(TABLE).where("owner_id", "=", ownerId);
  if (remove.length > 0) {
    const { numDeletedRows } = await own.where("id", "in", remove).executeTakeFirst();
    if (numDeletedRows !== BigInt(remove.length)) throw NOT_AS_READ;
  }
  const kinds = [...removeKinds].filter(isKind);
  if (kinds.length > 0) await own.where("kind", "in", kinds).execute();
}

/** @throws StoreFullError (rejects) when the person would have too many */
async function insertInto(
  transaction: PortcullisDatabase,
  engine: SqlEngine,
  ownerId: string,
  credentials: readonly StoredCredential[],
  now: number,
): Promise<void> {
  // Every value has been checked, so that MySQL's `ignore` passes over nothing but a row that exists.
  const insert = transaction.insertInto(TABLE).values(credentials.map(credentialRow));
  const { numInsertedOrUpdatedRows } = await (
    engine === "mysql" ? insert.ignore() : insert.onConflict((conflict) => conflict.doNothing())
  ).executeTakeFirst();
  if (numInsertedOrUpdatedRows !== BigInt(credentials.length)) throw NOT_AS_READ;
  if ((await countOf(transaction, ownerId)) <= CREDENTIALS_OF_ONE) return;
  await transaction
    .deleteFrom(TABLE)
    .where("owner_id", "=", ownerId)
    .where("expires_at", "<=", now)
    .where(
      "id",
      "not in",
      credentials.map(({ id }) => id),
    )
    .execute();
  if ((await countOf(transaction, ownerId)) > CREDENTIALS_OF_ONE)
    throw new StoreFullError("share", `A person has at most ${CREDENTIALS_OF_ONE} credentials.`);
}

async function countOf(transaction: PortcullisDatabase, ownerId: string): Promise<number> {
  const { count } = await transaction
    .selectFrom(TABLE)
    .select((eb) => eb.fn.countAll().as("count"))
    .where("owner_id", "=", ownerId)
    .executeTakeFirstOrThrow();
  return Number(count);
}
