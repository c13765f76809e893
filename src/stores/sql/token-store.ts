import { systemClock, type Clock } from "../../core/clock.js";
import type { AccessTokenFacts, StoredRefreshToken, StoredTokenFamily, TokenStore, WriteCall } from "../contracts.js";
import { isKeyNotice, type Change, type ChangeSource, type Denial } from "../revocations/changes.js";
import { Denylist } from "../revocations/denylist.js";
import { integer, isStorable, nameText, pageSize, text } from "../records.js";
import { rowOf, SqlChangeSource } from "./change-source.js";
import { deleteExpired } from "./clean-up.js";
import {
  cutOffOf,
  insertRefreshToken,
  lockSuccessor,
  markSubject,
  revokedAtOf,
  revokeFamily,
  rotateRefreshToken,
  tokenWithMarks,
} from "./families.js";
import { findFamily, listFamilies } from "./family-list.js";
import { migrate } from "./migrations.js";
import { refreshTokenOf } from "./rows.js";
import { engineOf } from "./engines.js";
import type { PortcullisDatabase } from "./schema.js";
import { read, settleLostCommit, write, writeTransaction } from "./transaction.js";

/** Objects passed to a `SqlTokenStore`. */
export interface SqlTokenStoreDependencies {
  /** The time, for tests. Default: the clock of the machine. */
  readonly clock?: Clock | undefined;
  /**
   * The same database with longer time limits, for work for which no request waits: the schema, loading, cleaning up.
   * `db` when absent.
   */
  readonly slowDb?: PortcullisDatabase | undefined;
}

/**
 * Refresh tokens and revocations in a SQL database. `isRevoked` answers from memory: `init` loads the denials, and
 * every new denial is written first to the database and then to memory. Later denials of other processes are in
 * `changes`, which `applySecurity` follows.
 *
 * @example
 * ```ts
 * import { JwtManager } from "portcullis";
 * import { openPostgres, SqlTokenStore } from "portcullis/sql";
 *
 * const { db } = await openPostgres("postgres://app@localhost/app");
 * const service = new JwtManager({ store: new SqlTokenStore(db) });
 * ```
 */
export class SqlTokenStore implements TokenStore {
  /** The denials of this and other processes, in order. */
  readonly changes: ChangeSource;
  readonly #db: PortcullisDatabase;
  readonly #slowDb: PortcullisDatabase;
  readonly #clock: Clock;
  readonly #denials = new Denylist();
  #loading: Promise<void> | undefined;
  #loaded = false;

  /** @param db the caller's database: `close` does not close it */
  constructor(db: PortcullisDatabase, options: SqlTokenStoreDependencies = {}) {
    this.#db = db;
    this.#slowDb = options.slowDb ?? db;
    this.#clock = options.clock ?? systemClock;
    this.changes = new SqlChangeSource(db, { clock: this.#clock, slowDb: this.#slowDb });
  }

  init(): Promise<void> {
    this.#loading ??= this.#load().catch((error: unknown) => {
      this.#loading = undefined;
      throw error;
    });
    return this.#loading;
  }

  async insert(token: StoredRefreshToken, call?: WriteCall): Promise<void> {
    await settleLostCommit(insertRefreshToken(this.#db, token, call), async () => {
      const row = await read(this.#slowDb, (db) =>
        db.selectFrom("portcullis_refresh_tokens").select("id").where("id", "=", token.id).executeTakeFirst(),
      );
      return row !== undefined;
    });
  }

  async get(id: string): Promise<StoredRefreshToken | undefined> {
    if (!isStorable(id)) return undefined;
    const row = await read(this.#db, (db) => tokenWithMarks(db, id));
    return row === undefined ? undefined : refreshTokenOf({ ...row, revoked_at: revokedAtOf(row) });
  }

  async rotate(
    id: string,
    usedAt: number,
    successor: StoredRefreshToken,
    sealedSuccessor: string,
    call?: WriteCall,
  ): Promise<boolean> {
    if (!isStorable(id)) return false;
    const transaction = rotateRefreshToken(
      this.#db,
      id,
      { usedAt: integer(usedAt), successor, sealedSuccessor: text(sealedSuccessor) },
      call,
    );
    return settleLostCommit(transaction, async () => {
      const engine = await engineOf(this.#slowDb);
      return (await read(this.#slowDb, (db) => lockSuccessor(db, engine, id))) === successor.id;
    });
  }

  async markUndelivered(id: string, successorId: string, at: number): Promise<void> {
    if (!isStorable(id) || !isStorable(successorId)) return;
    integer(at);
    await writeTransaction(this.#slowDb, async (transaction, engine) => {
      if ((await lockSuccessor(transaction, engine, id)) !== successorId) return;
      await transaction
        .updateTable("portcullis_refresh_tokens")
        .set({ undelivered_at: at })
        .where("id", "=", id)
        .execute();
    });
  }

  async revokeFamily(familyId: string, at: number): Promise<boolean> {
    return isStorable(familyId) && revokeFamily(this.#db, familyId, integer(at));
  }

  async revokeSubject(
    subject: string,
    at: number,
    forgetAfter: number,
    unlessEndedSince?: number,
    keep?: string,
  ): Promise<void> {
    const denial: Denial = {
      ...(keep === undefined ? {} : { keep: nameText(keep) }),
      kind: "subject",
      name: nameText(subject),
      cutOff: integer(at),
      endsAt: integer(forgetAfter),
    };
    const row = rowOf(denial);
    await writeTransaction(this.#db, async (transaction, engine) => {
      await markSubject(transaction, engine, { subject, at, endsAt: forgetAfter, unlessEndedSince, keep });
      // The last statement, so that its number is assigned shortly before the commit (see `change-position.ts`).
      await transaction.insertInto("portcullis_changes").values(row).execute();
    });
    this.#remember(denial);
  }

  async familiesOf(
    subject: string,
    now: number,
    page: { readonly limit: number; readonly after?: string | undefined },
  ): Promise<readonly StoredTokenFamily[]> {
    const limit = pageSize(page.limit);
    if (!isStorable(subject) || limit === 0) return [];
    const after = page.after === undefined ? undefined : await this.findFamily(page.after);
    if (after === null || (after !== undefined && after.subject !== subject)) return [];
    const engine = await engineOf(this.#db);
    return read(this.#db, (db) => listFamilies(db, engine, subject, integer(now), limit, after));
  }

  async findFamily(familyId: string): Promise<StoredTokenFamily | null> {
    return isStorable(familyId) ? read(this.#db, (db) => findFamily(db, familyId)) : null;
  }

  async denyAccessToken(jti: string, expiresAt: number): Promise<void> {
    await this.#deny({ kind: "token", name: jti, endsAt: expiresAt });
  }

  async denyFamily(familyId: string, until: number): Promise<void> {
    await this.#deny({ kind: "family", name: familyId, endsAt: until });
  }

  isKnownRevoked(token: AccessTokenFacts): boolean {
    return this.#denials.isRevoked(token);
  }

  /**
   * Answers at once when `init` is done. Until then the answer waits for it, since "not loaded" does not mean "not
   * revoked".
   */
  isRevoked(token: AccessTokenFacts): boolean | Promise<boolean> {
    if (this.#loaded) return this.#denials.isRevoked(token);
    return this.init().then(() => this.#denials.isRevoked(token));
  }

  async cutOffOf(subject: string): Promise<number | undefined> {
    return isStorable(subject) ? read(this.#db, (db) => cutOffOf(db, subject)) : undefined;
  }

  knownCutOffOf(subject: string): number | undefined {
    return this.#denials.cutOffOf(subject);
  }

  async deleteExpired(now: number): Promise<number> {
    const deleted = await deleteExpired(this.#slowDb, integer(now));
    this.#denials.deleteExpired(now);
    return deleted;
  }

  /** Does not close the database, which belongs to the caller. */
  async close(): Promise<void> {}

  async #load(): Promise<void> {
    await migrate(this.#slowDb);
    for (const change of (await this.changes.load()).changes) this.#remember(change);
    this.#loaded = true;
  }

  async #deny(denial: Denial): Promise<void> {
    const row = rowOf(denial);
    await write(this.#db, (db) => db.insertInto("portcullis_changes").values(row).execute());
    this.#remember(denial);
  }

  #remember(change: Change): void {
    if (!isKeyNotice(change)) this.#denials.deny(change, this.#clock.now());
  }
}
