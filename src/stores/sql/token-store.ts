import { setImmediate as yieldToOthers } from "node:timers/promises";
import { systemClock, type Clock } from "../../core/clock.js";
import type { StoredRefreshToken, TokenStore } from "../contracts.js";
import { Denials, type AccessTokenFacts } from "../denials.js";
import { integer, isStorable, text } from "../records.js";
import { sealsEndBefore } from "../token-lifetime.js";
import { insertRefreshToken, revokeFamilies, rotateRefreshToken } from "./families.js";
import { migrate } from "./migrations.js";
import { refreshTokenOf } from "./rows.js";
import type { DenialTable, PortcullisDatabase } from "./schema.js";
import { retryBusy, writeTransaction } from "./transaction.js";

/** Rows changed in one transaction, so that a long clean-up does not keep other writers out. */
const CHANGED_PER_TURN = 500;

export interface SqlTokenStoreOptions {
  readonly clock?: Clock | undefined;
}

/**
 * Refresh tokens and revocations in a SQL database. `isRevoked` answers from memory: `init` loads what is denied, and
 * every denial is written to the database first and to memory after. Another process's denials are seen at its `init`.
 */
export class SqlTokenStore implements TokenStore {
  readonly #db: PortcullisDatabase;
  readonly #clock: Clock;
  readonly #denials = new Denials();
  #loading: Promise<void> | undefined;
  #loaded = false;

  /** @param db stays the caller's: `close` leaves it open */
  constructor(db: PortcullisDatabase, options: SqlTokenStoreOptions = {}) {
    this.#db = db;
    this.#clock = options.clock ?? systemClock;
  }

  init(): Promise<void> {
    this.#loading ??= this.#load().catch((error: unknown) => {
      this.#loading = undefined;
      throw error;
    });
    return this.#loading;
  }

  async insert(token: StoredRefreshToken): Promise<void> {
    await insertRefreshToken(this.#db, token);
  }

  async get(id: string): Promise<StoredRefreshToken | undefined> {
    if (!isStorable(id)) return undefined;
    const row = await retryBusy(() => this.#db.selectFrom("portcullis_refresh_tokens").selectAll().where("id", "=", id).executeTakeFirst());
    return row === undefined ? undefined : refreshTokenOf(row);
  }

  async rotate(id: string, usedAt: number, successor: StoredRefreshToken, sealedSuccessor: string): Promise<boolean> {
    if (!isStorable(id)) return false;
    return rotateRefreshToken(this.#db, id, { usedAt: integer(usedAt), successor, sealedSuccessor: text(sealedSuccessor) });
  }

  async revokeFamily(familyId: string, at: number): Promise<number> {
    if (!isStorable(familyId)) return 0;
    integer(at);
    return writeTransaction(this.#db, (transaction) => revokeFamilies(transaction, { familyId }, at));
  }

  async revokeSubject(subject: string, at: number, forgetAfter: number): Promise<void> {
    text(subject);
    const denial = { kind: "subject", name: subject, cut_off: integer(at), ends_at: integer(forgetAfter) } as const;
    await writeTransaction(this.#db, async (transaction) => {
      await saveDenial(transaction, denial);
      await revokeFamilies(transaction, { subject }, at);
    });
    this.#denials.cutOff(subject, at, forgetAfter, this.#clock.now());
  }

  async revokeAccessToken(jti: string, expiresAt: number): Promise<void> {
    const denial = { kind: "token", name: text(jti), cut_off: 0, ends_at: integer(expiresAt) } as const;
    await writeTransaction(this.#db, (transaction) => saveDenial(transaction, denial));
    this.#denials.denyToken(jti, expiresAt, this.#clock.now());
  }

  async denyFamily(familyId: string, until: number): Promise<void> {
    const denial = { kind: "family", name: text(familyId), cut_off: 0, ends_at: integer(until) } as const;
    await writeTransaction(this.#db, (transaction) => saveDenial(transaction, denial));
    this.#denials.denyFamily(familyId, until, this.#clock.now());
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
    deleted += await writeTransaction(this.#db, async (transaction) => {
      await transaction
        .deleteFrom("portcullis_token_families")
        .where("expires_at", "<", now)
        .where(({ not, exists, selectFrom }) =>
          not(
            exists(
              selectFrom("portcullis_refresh_tokens")
                .select("portcullis_refresh_tokens.id")
                .whereRef("portcullis_refresh_tokens.family_id", "=", "portcullis_token_families.id"),
            ),
          ),
        )
        .execute();
      const denials = await transaction.deleteFrom("portcullis_denials").where("ends_at", "<", now).executeTakeFirst();
      return Number(denials.numDeletedRows);
    });
    this.#denials.deleteExpired(now);
    return deleted;
  }

  async close(): Promise<void> {}

  async #load(): Promise<void> {
    await migrate(this.#db);
    const now = this.#clock.now();
    const rows = await retryBusy(() => this.#db.selectFrom("portcullis_denials").selectAll().where("ends_at", ">=", now).execute());
    for (const row of rows) {
      if (row.kind === "token") this.#denials.denyToken(row.name, Number(row.ends_at), now);
      else if (row.kind === "family") this.#denials.denyFamily(row.name, Number(row.ends_at), now);
      else this.#denials.cutOff(row.name, Number(row.cut_off), Number(row.ends_at), now);
    }
    this.#loaded = true;
  }

  async #forgetSeals(usedBefore: number): Promise<void> {
    await this.#inTurns(
      (ids) => ids.where("sealed_successor", "is not", null).where("used_at", "<", usedBefore),
      (transaction, ids) => transaction.updateTable("portcullis_refresh_tokens").set({ sealed_successor: null }).where("id", "in", ids).execute(),
    );
  }

  #deleteTokens(choose: (ids: TokenIds) => TokenIds): Promise<number> {
    return this.#inTurns(choose, (transaction, ids) => transaction.deleteFrom("portcullis_refresh_tokens").where("id", "in", ids).execute());
  }

  /** Does something to the chosen tokens, a few in each transaction. Returns to how many. */
  async #inTurns(choose: (ids: TokenIds) => TokenIds, act: (transaction: PortcullisDatabase, ids: string[]) => Promise<unknown>): Promise<number> {
    let done = 0;
    for (;;) {
      const count = await writeTransaction(this.#db, async (transaction) => {
        const rows = await choose(tokenIds(transaction)).limit(CHANGED_PER_TURN).execute();
        if (rows.length > 0) await act(transaction, rows.map((row) => row.id));
        return rows.length;
      });
      done += count;
      if (count < CHANGED_PER_TURN) return done;
      await yieldToOthers();
    }
  }
}

type TokenIds = ReturnType<typeof tokenIds>;

function tokenIds(db: PortcullisDatabase) {
  return db.selectFrom("portcullis_refresh_tokens").select("id");
}

/** A denial only ever grows stricter, as in `Denials`. */
async function saveDenial(transaction: PortcullisDatabase, denial: DenialTable & { cut_off: number; ends_at: number }): Promise<void> {
  const result = await transaction
    .updateTable("portcullis_denials")
    .set((eb) => ({
      cut_off: eb.case().when("cut_off", "<", denial.cut_off).then(denial.cut_off).else(eb.ref("cut_off")).end(),
      ends_at: eb.case().when("ends_at", "<", denial.ends_at).then(denial.ends_at).else(eb.ref("ends_at")).end(),
    }))
    .where("kind", "=", denial.kind)
    .where("name", "=", denial.name)
    .executeTakeFirst();
  if (result.numUpdatedRows === 0n) await transaction.insertInto("portcullis_denials").values(denial).execute();
}
