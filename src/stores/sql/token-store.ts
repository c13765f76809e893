import { setImmediate as yieldToOthers } from "node:timers/promises";
import type { SelectQueryBuilder } from "kysely";
import { systemClock, type Clock } from "../../core/clock.js";
import type { StoredRefreshToken, TokenStore, WriteCall } from "../contracts.js";
import type { Change, ChangeSource, Denial } from "../revocations/changes.js";
import { Denials, type AccessTokenFacts } from "../revocations/denylist.js";
import { integer, isStorable, text } from "../records.js";
import { rowOf, SqlChangeSource } from "./change-source.js";
import { sealsEndBefore } from "../token-lifetime.js";
import {
  insertRefreshToken,
  lockSuccessor,
  markSubject,
  revokedAtOf,
  revokeFamily,
  rotateRefreshToken,
  tokenWithMarks,
} from "./families.js";
import { migrate } from "./migrations.js";
import { refreshTokenOf, textOf } from "./rows.js";
import { engineOf, type SqlEngine } from "./engines.js";
import type { PortcullisDatabase, PortcullisTables } from "./schema.js";
import { read, settleLostCommit, write, writeTransaction } from "./transaction.js";

/** Rows changed in one transaction, so that a long clean-up does not keep other writers out. */
const CHANGED_PER_TURN = 500;

export interface SqlTokenStoreOptions {
  readonly clock?: Clock | undefined;
  /** The same database with more time, for what no request waits for: the schema, loading, cleaning up. `db` when absent. */
  readonly slowDb?: PortcullisDatabase | undefined;
}

/**
 * Refresh tokens and revocations in a SQL database. `isRevoked` answers from memory: `init` loads what is denied, and
 * every denial is written to the database first and to memory after. What other processes denied later is in `changes`,
 * which a `ChangeFeed` follows, or `catchUp` takes over.
 */
export class SqlTokenStore implements TokenStore {
  /** What this and other processes denied, in order. */
  readonly changes: ChangeSource;
  readonly #db: PortcullisDatabase;
  readonly #slowDb: PortcullisDatabase;
  readonly #clock: Clock;
  readonly #denials = new Denials();
  #loading: Promise<void> | undefined;
  #loaded = false;
  #position = "";

  /** @param db stays the caller's: `close` leaves it open */
  constructor(db: PortcullisDatabase, options: SqlTokenStoreOptions = {}) {
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

  async revokeSubject(subject: string, at: number, forgetAfter: number, isRepeated = false): Promise<void> {
    const denial: Denial = { kind: "subject", name: text(subject), cutOff: integer(at), endsAt: integer(forgetAfter) };
    const row = rowOf(denial);
    await writeTransaction(this.#db, async (transaction, engine) => {
      await markSubject(transaction, engine, { subject, at, endsAt: forgetAfter, isRepeated });
      // Last, so that its number is given shortly before the commit (see `change-position.ts`).
      await transaction.insertInto("portcullis_changes").values(row).execute();
    });
    this.#remember(denial);
  }

  async revokeAccessToken(jti: string, expiresAt: number): Promise<void> {
    await this.#deny({ kind: "token", name: jti, endsAt: expiresAt });
  }

  async denyFamily(familyId: string, until: number): Promise<void> {
    await this.#deny({ kind: "family", name: familyId, endsAt: until });
  }

  /** Takes over what other processes denied since the last time. Returns how many changes there were. */
  async catchUp(): Promise<number> {
    await this.init();
    const { changes, position, gap } = await this.changes.since(this.#position);
    if (gap) return this.#takeAll();
    for (const change of changes) this.#remember(change);
    this.#position = position;
    return changes.length;
  }

  isKnownRevoked(token: AccessTokenFacts): boolean {
    return this.#denials.isRevoked(token);
  }

  /** At once when `init` is done; until then the answer waits for it, since "not loaded" is not "not revoked". */
  isRevoked(token: AccessTokenFacts): boolean | Promise<boolean> {
    if (this.#loaded) return this.#denials.isRevoked(token);
    return this.init().then(() => this.#denials.isRevoked(token));
  }

  async deleteExpired(now: number): Promise<number> {
    integer(now);
    await this.#forgetSeals(sealsEndBefore(now));
    let deleted = await this.#deleteTokens((ids) => ids.where("family_expires_at", "<", now));
    deleted += await this.#deleteTokens((ids) => ids.where("used_at", "is", null).where("expires_at", "<", now));
    await this.#deleteFamilies(now);
    await this.#deleteMarks(now);
    deleted += await this.#deleteChanges(now);
    this.#denials.deleteExpired(now);
    return deleted;
  }

  async close(): Promise<void> {}

  async #load(): Promise<void> {
    await migrate(this.#slowDb);
    await this.#takeAll();
    this.#loaded = true;
  }

  async #takeAll(): Promise<number> {
    const { changes, position } = await this.changes.load();
    for (const change of changes) this.#remember(change);
    this.#position = position;
    return changes.length;
  }

  async #deny(denial: Denial): Promise<void> {
    const row = rowOf(denial);
    await write(this.#db, (db) => db.insertInto("portcullis_changes").values(row).execute());
    this.#remember(denial);
  }

  #remember(change: Change): void {
    const now = this.#clock.now();
    if (change.kind === "token") this.#denials.denyToken(change.name, change.endsAt, now);
    else if (change.kind === "family") this.#denials.denyFamily(change.name, change.endsAt, now);
    else if (change.kind === "subject") this.#denials.cutOff(change.name, change.cutOff, change.endsAt, now);
  }

  #deleteTokens(choose: (ids: TokenIds) => TokenIds): Promise<number> {
    return inTurns(this.#slowDb, async (transaction, engine) => {
      const rows = await oneTurn(choose(tokenIds(transaction)), engine).execute();
      const ids = rows.map((row) => textOf(row.id));
      if (ids.length > 0) await transaction.deleteFrom("portcullis_refresh_tokens").where("id", "in", ids).execute();
      return ids.length;
    });
  }

  /** Those that have ended and have no token left. */
  #deleteFamilies(now: number): Promise<number> {
    return inTurns(this.#slowDb, async (transaction, engine) => {
      const ended = transaction
        .selectFrom("portcullis_token_families")
        .select("portcullis_token_families.id")
        .where("portcullis_token_families.expires_at", "<", now)
        .where(({ not, exists, selectFrom }) =>
          not(
            exists(
              selectFrom("portcullis_refresh_tokens")
                .select("portcullis_refresh_tokens.id")
                .whereRef("portcullis_refresh_tokens.family_id", "=", "portcullis_token_families.id"),
            ),
          ),
        );
      const ids = (await oneTurn(ended, engine).execute()).map((row) => textOf(row.id));
      if (ids.length > 0)
        await transaction
          .deleteFrom("portcullis_token_families")
          .where("id", "in", ids)
          .where("expires_at", "<", now)
          .execute();
      return ids.length;
    });
  }

  /** Those that no family needs any more: each of the subject's began after it. */
  #deleteMarks(now: number): Promise<number> {
    return inTurns(this.#slowDb, async (transaction, engine) => {
      const unneeded = transaction
        .selectFrom("portcullis_subject_marks")
        .select("portcullis_subject_marks.mark")
        .where("portcullis_subject_marks.ends_at", "<", now)
        .where(({ not, exists, selectFrom }) =>
          not(
            exists(
              selectFrom("portcullis_token_families as family")
                .select("family.id")
                .whereRef("family.subject", "=", "portcullis_subject_marks.subject")
                .where((family) =>
                  family.or([
                    family("family.subject_mark", "is", null),
                    family("family.subject_mark", "<>", family.ref("portcullis_subject_marks.mark")),
                  ]),
                ),
            ),
          ),
        );
      const marks = (await oneTurn(unneeded, engine).execute()).map((row) => textOf(row.mark));
      if (marks.length > 0)
        await transaction.deleteFrom("portcullis_subject_marks").where("mark", "in", marks).execute();
      return marks.length;
    });
  }

  /** Counts the denials alone: that an API key changed is not one. */
  async #deleteChanges(now: number): Promise<number> {
    let denials = 0;
    await inTurns(this.#slowDb, async (transaction, engine) => {
      const rows = await oneTurn(
        transaction.selectFrom("portcullis_changes").select(["seq", "kind"]).where("ends_at", "<", now),
        engine,
      ).execute();
      const seqs = rows.map((row) => Number(row.seq));
      if (seqs.length > 0) await transaction.deleteFrom("portcullis_changes").where("seq", "in", seqs).execute();
      denials += rows.filter((row) => textOf(row.kind) !== "api-key").length;
      return rows.length;
    });
    return denials;
  }

  #forgetSeals(usedBefore: number): Promise<number> {
    return inTurns(this.#slowDb, async (transaction, engine) => {
      const rows = await oneTurn(tokenIds(transaction).where("sealed_at", "<", usedBefore), engine).execute();
      const ids = rows.map((row) => textOf(row.id));
      if (ids.length > 0)
        await transaction
          .updateTable("portcullis_refresh_tokens")
          .set({ sealed_successor: null, sealed_at: null })
          .where("id", "in", ids)
          .execute();
      return ids.length;
    });
  }
}

type TokenIds = ReturnType<typeof tokenIds>;

function tokenIds(db: PortcullisDatabase) {
  return db.selectFrom("portcullis_refresh_tokens").select("id");
}

/** The rows of one turn; on a server those that nobody else is deleting or changing now. */
function oneTurn<Row>(
  query: SelectQueryBuilder<PortcullisTables, keyof PortcullisTables, Row>,
  engine: SqlEngine,
): SelectQueryBuilder<PortcullisTables, keyof PortcullisTables, Row> {
  const limited = query.limit(CHANGED_PER_TURN);
  return engine === "sqlite" ? limited : limited.forUpdate().skipLocked();
}

/** Repeats `turn` until it finds fewer rows than it may delete. */
async function inTurns(
  db: PortcullisDatabase,
  turn: (transaction: PortcullisDatabase, engine: SqlEngine) => Promise<number>,
): Promise<number> {
  for (let deleted = 0; ;) {
    const count = await writeTransaction(db, turn);
    deleted += count;
    if (count < CHANGED_PER_TURN) return deleted;
    await yieldToOthers();
  }
}
