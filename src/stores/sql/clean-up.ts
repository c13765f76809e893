import { setImmediate as yieldToOthers } from "node:timers/promises";
import type { SelectQueryBuilder } from "kysely";
import { sealsEndBefore } from "../token-lifetime.js";
import type { KeyNotice } from "../revocations/changes.js";
import type { SqlEngine } from "./engines.js";
import { textOf } from "./rows.js";
import type { PortcullisDatabase, PortcullisTables } from "./schema.js";
import { writeTransaction } from "./transaction.js";

/** Kinds of changes that are no denials. */
const KEY_NOTICES: ReadonlySet<string> = new Set<KeyNotice["kind"]>(["api-key", "owner"]);
/** Rows changed in one transaction, so that a long clean-up does not block other writers. */
const CHANGED_PER_TURN = 500;

/**
 * Deletes tokens, families, marks and changes that have ended. Each transaction deletes a few rows, so that other
 * writers can run in between.
 *
 * @param db the database with longer time limits, since no request waits for this
 * @returns the number of deleted tokens and denials
 */
export async function deleteExpired(db: PortcullisDatabase, now: number): Promise<number> {
  await forgetSeals(db, sealsEndBefore(now));
  let deleted = await deleteTokens(db, (ids) => ids.where("family_expires_at", "<", now));
  deleted += await deleteTokens(db, (ids) => ids.where("used_at", "is", null).where("expires_at", "<", now));
  await deleteFamilies(db, now);
  await deleteMarks(db, now);
  return deleted + (await deleteChanges(db, now));
}

/** Deletes the rows of a table of accounts that have expired, in turns as `deleteExpired` does. Returns how many. */
export function deleteEnded(
  db: PortcullisDatabase,
  table: "portcullis_credentials" | "portcullis_single_use",
  now: number,
): Promise<number> {
  return inTurns(db, async (transaction, engine) => {
    const ended = transaction.selectFrom(table).select("id").where("expires_at", "<=", now);
    const ids = (await oneTurn(ended, engine).execute()).map((row) => textOf(row.id));
    if (ids.length > 0) await transaction.deleteFrom(table).where("id", "in", ids).execute();
    return ids.length;
  });
}

function deleteTokens(db: PortcullisDatabase, choose: (ids: TokenIds) => TokenIds): Promise<number> {
  return inTurns(db, async (transaction, engine) => {
    const rows = await oneTurn(choose(tokenIds(transaction)), engine).execute();
    const ids = rows.map((row) => textOf(row.id));
    if (ids.length > 0) await transaction.deleteFrom("portcullis_refresh_tokens").where("id", "in", ids).execute();
    return ids.length;
  });
}

/** Deletes families that have ended and have no token left. */
function deleteFamilies(db: PortcullisDatabase, now: number): Promise<number> {
  return inTurns(db, async (transaction, engine) => {
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

/** Deletes marks that no family needs: each family of the subject began after the mark. */
function deleteMarks(db: PortcullisDatabase, now: number): Promise<number> {
  return inTurns(db, async (transaction, engine) => {
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
    if (marks.length > 0) await transaction.deleteFrom("portcullis_subject_marks").where("mark", "in", marks).execute();
    return marks.length;
  });
}

/** Counts only the denials: the change of an API key is not a denial. */
async function deleteChanges(db: PortcullisDatabase, now: number): Promise<number> {
  let denials = 0;
  await inTurns(db, async (transaction, engine) => {
    const rows = await oneTurn(
      transaction.selectFrom("portcullis_changes").select(["seq", "kind"]).where("ends_at", "<", now),
      engine,
    ).execute();
    const seqs = rows.map((row) => Number(row.seq));
    if (seqs.length > 0) await transaction.deleteFrom("portcullis_changes").where("seq", "in", seqs).execute();
    denials += rows.filter((row) => !KEY_NOTICES.has(textOf(row.kind))).length;
    return rows.length;
  });
  return denials;
}

function forgetSeals(db: PortcullisDatabase, usedBefore: number): Promise<number> {
  return inTurns(db, async (transaction, engine) => {
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

type TokenIds = ReturnType<typeof tokenIds>;

function tokenIds(db: PortcullisDatabase) {
  return db.selectFrom("portcullis_refresh_tokens").select("id");
}

/** The rows of one turn; on a server without those that another transaction is deleting or changing now. */
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
