import { StoreError } from "../../core/portcullis-error.js";
import { randomBytes } from "node:crypto";
import { type ExpressionBuilder, sql } from "kysely";
import type { StoredRefreshToken, WriteCall } from "../contracts.js";
import type { SqlEngine } from "./engines.js";
import { nameText } from "../records.js";
import { refreshTokenRow, textOf } from "./rows.js";
import type { PortcullisDatabase, PortcullisTables, RefreshTokenRow } from "./schema.js";
import { hasLost, write, writeTransaction } from "./transaction.js";

/**
 * Changes to families of refresh tokens. The marks of its family and its subject decide, when a token is read, whether
 * it is revoked. So a revocation writes one mark, and a successor that a concurrent rotation inserts is revoked with
 * the other tokens. Inserting and rotating lock the family's row, so that the family is not deleted meanwhile and
 * rotations run one after another.
 */
export async function insertRefreshToken(
  db: PortcullisDatabase,
  token: StoredRefreshToken,
  call?: WriteCall,
): Promise<boolean> {
  const row = refreshTokenRow(token);
  const { family_id, subject, family_expires_at } = row;
  const label = token.label === undefined ? null : nameText(token.label);
  return writeTransaction(
    db,
    async (transaction, engine) => {
      const insert = transaction.insertInto("portcullis_token_families").values(({ selectFrom }) => ({
        id: family_id,
        subject,
        expires_at: family_expires_at,
        created_at: row.issued_at,
        last_used_at: row.issued_at,
        idle_ends_at: row.expires_at,
        label,
        subject_mark: selectFrom("portcullis_subject_marks as subject")
          .select("subject.mark")
          .where("subject.subject", "=", subject),
      }));
      // When two first tokens of one family are inserted at once, one creates the family, and the other waits and finds
      // it.
      await (
        engine === "mysql"
          ? insert.onDuplicateKeyUpdate((eb) => ({ id: eb.ref("id") }))
          : insert.onConflict((conflict) => conflict.doNothing())
      ).execute();
      const family = await lockFamily(transaction, engine, family_id);
      if (family === undefined)
        throw new StoreError("The family of a refresh token was deleted while the token was being stored.");
      await prolong(transaction, family_id, family, token, token.issuedAt);
      await transaction.insertInto("portcullis_refresh_tokens").values(row).execute();
      return true;
    },
    call,
  );
}

export async function rotateRefreshToken(
  db: PortcullisDatabase,
  id: string,
  change: { readonly usedAt: number; readonly successor: StoredRefreshToken; readonly sealedSuccessor: string },
  call?: WriteCall,
): Promise<boolean> {
  const { successor, usedAt, sealedSuccessor } = change;
  const row = refreshTokenRow(successor);
  const isUnused = (eb: ExpressionBuilder<PortcullisTables, "portcullis_refresh_tokens">) =>
    eb.and([
      eb("id", "=", id),
      eb("family_id", "=", row.family_id),
      eb("used_at", "is", null),
      eb("revoked_at", "is", null),
    ]);
  const isLost = await hasLost(db, (reading) =>
    reading.selectFrom("portcullis_refresh_tokens").select("id").where(isUnused).executeTakeFirst(),
  );
  if (isLost) return false;
  return writeTransaction(
    db,
    async (transaction, engine) => {
      const family = await lockFamily(transaction, engine, row.family_id);
      if (family === undefined || family.isRevoked) return false;
      const result = await transaction
        .updateTable("portcullis_refresh_tokens")
        .set({ used_at: usedAt, successor_id: row.id, sealed_successor: sealedSuccessor, sealed_at: usedAt })
        .where(isUnused)
        .executeTakeFirst();
      if (result.numUpdatedRows === 0n) return false;
      await prolong(transaction, row.family_id, family, successor, usedAt);
      await transaction.insertInto("portcullis_refresh_tokens").values(row).execute();
      return true;
    },
    call,
  );
}

/**
 * Returns the successor of a token, or null; undefined when there is no such token. On a server it locks the token's
 * row, and so waits for a transaction that is changing the row.
 */
export async function lockSuccessor(
  db: PortcullisDatabase,
  engine: SqlEngine,
  id: string,
): Promise<string | null | undefined> {
  const query = db.selectFrom("portcullis_refresh_tokens").select("successor_id").where("id", "=", id);
  const row = await (engine === "sqlite" ? query : query.forUpdate()).executeTakeFirst();
  return row?.successor_id == null ? row?.successor_id : textOf(row.successor_id);
}

export interface MarkedTokenRow extends RefreshTokenRow {
  readonly family_revoked_at: RefreshTokenRow["revoked_at"];
  /** The subject's mark when the family began. */
  readonly subject_mark: string | null;
  /** The subject's current mark, and when it was written. */
  readonly mark: string | null;
  readonly subject_revoked_at: RefreshTokenRow["revoked_at"];
}

/** The row of a token by its id, and whether its family or its subject has been revoked. */
export function tokenWithMarks(db: PortcullisDatabase, id: string): Promise<MarkedTokenRow | undefined> {
  return db
    .selectFrom("portcullis_refresh_tokens")
    .innerJoin("portcullis_token_families as family", "family.id", "portcullis_refresh_tokens.family_id")
    .leftJoin("portcullis_subject_marks as subject", "subject.subject", "family.subject")
    .selectAll("portcullis_refresh_tokens")
    .select([
      "family.revoked_at as family_revoked_at",
      "family.subject_mark",
      "subject.mark",
      "subject.revoked_at as subject_revoked_at",
    ])
    .where("portcullis_refresh_tokens.id", "=", id)
    .executeTakeFirst();
}

/** When the token was revoked: by itself, with its family, or with its subject. */
export function revokedAtOf(row: MarkedTokenRow): number | null {
  const isCutOff = row.mark !== null && !isMark(row.mark, row.subject_mark);
  const at = row.revoked_at ?? row.family_revoked_at ?? (isCutOff ? row.subject_revoked_at : null);
  return at === null ? null : Number(at);
}

/** Writes one mark, however many tokens the family has. False when there is no such family, or it is marked already. */
export async function revokeFamily(db: PortcullisDatabase, id: string, at: number): Promise<boolean> {
  const result = await write(db, (one) =>
    one
      .updateTable("portcullis_token_families")
      .set({ revoked_at: at })
      .where("id", "=", id)
      .where("revoked_at", "is", null)
      .executeTakeFirst(),
  );
  return result.numUpdatedRows > 0n;
}

interface SubjectRevocation {
  readonly subject: string;
  readonly at: number;
  readonly endsAt: number;
  /** Does nothing when the subject has been revoked at this time or later. */
  readonly unlessEndedSince: number | undefined;
  /** The family that stays in force if it is. */
  readonly keep: string | undefined;
}

/** A mark that is replaced before its transaction ends. */
const NO_MARK = "";

async function insertNoMark(
  transaction: PortcullisDatabase,
  engine: SqlEngine,
  subject: string,
  at: number,
): Promise<void> {
  const insert = transaction
    .insertInto("portcullis_subject_marks")
    .values({ subject, mark: NO_MARK, revoked_at: at, ends_at: at });
  await (
    engine === "mysql"
      ? insert.onDuplicateKeyUpdate((eb) => ({ subject: eb.ref("subject") }))
      : insert.onConflict((conflict) => conflict.doNothing())
  ).execute();
}

/** Writes one mark, however many families the subject has. It revokes the families that began before it. */
export async function markSubject(
  transaction: PortcullisDatabase,
  engine: SqlEngine,
  { subject, at, endsAt, unlessEndedSince, keep }: SubjectRevocation,
): Promise<void> {
  let before: { readonly mark: string; readonly revoked_at: unknown } | undefined;
  if (unlessEndedSince !== undefined || keep !== undefined) {
    // So that there is a row to lock: calls that run at once run one after another.
    if (keep !== undefined) await insertNoMark(transaction, engine, subject, at);
    const query = transaction
      .selectFrom("portcullis_subject_marks")
      .select(["mark", "revoked_at"])
      .where("subject", "=", subject);
    const known = await (engine === "sqlite" ? query : query.forUpdate()).executeTakeFirst();
    before = known === undefined || textOf(known.mark) === NO_MARK ? undefined : known;
    if (before !== undefined && Number(before.revoked_at) >= (unlessEndedSince ?? Infinity)) return;
  }
  const mark = randomBytes(16).toString("base64url");
  if (keep !== undefined) {
    const kept = transaction
      .updateTable("portcullis_token_families")
      .set({ subject_mark: mark })
      .where("id", "=", keep)
      .where("subject", "=", subject);
    // Only a family that no earlier mark has ended. A mark that no family needs any more may have been deleted.
    await (before === undefined ? kept : kept.where("subject_mark", "=", textOf(before.mark))).execute();
  }
  const insert = transaction
    .insertInto("portcullis_subject_marks")
    .values({ subject, mark, revoked_at: at, ends_at: endsAt });
  // The times only move forward: revocations of several processes may be written in another order than they began.
  const later = (column: "revoked_at" | "ends_at", time: number) => {
    const known = sql.ref(`portcullis_subject_marks.${column}`);
    return sql<number>`case when ${known} > ${time} then ${known} else ${time} end`;
  };
  const change = { mark, revoked_at: later("revoked_at", at), ends_at: later("ends_at", endsAt) };
  await (
    engine === "mysql"
      ? insert.onDuplicateKeyUpdate(change)
      : insert.onConflict((conflict) => conflict.column("subject").doUpdateSet(change))
  ).execute();
}

/** The latest cut-off of a subject's access tokens. */
export async function cutOffOf(db: PortcullisDatabase, subject: string): Promise<number | undefined> {
  const row = await db
    .selectFrom("portcullis_subject_marks")
    .select("revoked_at")
    .where("subject", "=", subject)
    .executeTakeFirst();
  return row === undefined ? undefined : Number(row.revoked_at);
}

interface LockedFamily {
  readonly isRevoked: boolean;
  readonly endsAt: number;
  readonly idleEndsAt: number;
  readonly lastUsedAt: number;
}

async function lockFamily(
  transaction: PortcullisDatabase,
  engine: SqlEngine,
  id: string,
): Promise<LockedFamily | undefined> {
  const query = transaction
    .selectFrom("portcullis_token_families")
    .select(["revoked_at", "expires_at", "idle_ends_at", "last_used_at", "subject_mark"])
    .select((eb) =>
      eb
        .selectFrom("portcullis_subject_marks as subject")
        .select("subject.mark")
        .whereRef("subject.subject", "=", "portcullis_token_families.subject")
        .as("mark"),
    )
    .where("id", "=", id);
  const row = await (engine === "sqlite" ? query : query.forUpdate()).executeTakeFirst();
  if (row === undefined) return undefined;
  return {
    isRevoked: row.revoked_at !== null || (row.mark !== null && !isMark(row.mark, row.subject_mark)),
    endsAt: Number(row.expires_at),
    idleEndsAt: Number(row.idle_ends_at ?? 0),
    lastUsedAt: Number(row.last_used_at ?? 0),
  };
}

function isMark(mark: string, other: string | null): boolean {
  return other !== null && textOf(mark) === textOf(other);
}

/** Moves the times of the family forward: a family ends when its last token does. */
async function prolong(
  transaction: PortcullisDatabase,
  id: string,
  known: LockedFamily,
  token: StoredRefreshToken,
  usedAt: number,
): Promise<void> {
  const endsAt = Math.max(known.endsAt, token.familyExpiresAt);
  const idleEndsAt = Math.max(known.idleEndsAt, token.expiresAt);
  const lastUsedAt = Math.max(known.lastUsedAt, usedAt);
  if (endsAt === known.endsAt && idleEndsAt === known.idleEndsAt && lastUsedAt === known.lastUsedAt) return;
  await transaction
    .updateTable("portcullis_token_families")
    .set({ expires_at: endsAt, idle_ends_at: idleEndsAt, last_used_at: lastUsedAt })
    .where("id", "=", id)
    .execute();
}
