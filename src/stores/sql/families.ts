import type { StoredRefreshToken, WriteCall } from "../contracts.js";
import type { SqlEngine } from "./engines.js";
import { refreshTokenRow, textOf } from "./rows.js";
import type { PortcullisDatabase } from "./schema.js";
import { writeTransaction } from "./transaction.js";

/** Names in one IN list. */
const CHUNK = 200;

/**
 * The changes to families of refresh tokens. Each begins by locking the family's row. On SQLite there is one writer
 * anyway; on engines with row locks this makes a rotation and a revocation of one family wait for each other, so that
 * no successor is inserted behind a revocation's back.
 */
export async function insertRefreshToken(db: PortcullisDatabase, token: StoredRefreshToken, call?: WriteCall): Promise<boolean> {
  const row = refreshTokenRow(token);
  const { family_id, subject, family_expires_at } = row;
  return writeTransaction(db, async (transaction, engine) => {
    const insert = transaction.insertInto("portcullis_token_families").values({ id: family_id, subject, expires_at: family_expires_at });
    // Two first tokens of one family at once: one makes the family, the other waits and finds it.
    await (engine === "mysql" ? insert.onDuplicateKeyUpdate((eb) => ({ id: eb.ref("id") })) : insert.onConflict((conflict) => conflict.doNothing())).execute();
    const family = await lockFamily(transaction, engine, family_id);
    if (family === undefined) throw new Error("The family of a refresh token was deleted while the token was being stored.");
    await prolong(transaction, family_id, family.expiresAt, token.familyExpiresAt);
    // A family once revoked stays revoked, for late comers too.
    await transaction
      .insertInto("portcullis_refresh_tokens")
      .values({ ...row, revoked_at: row.revoked_at ?? family.revokedAt })
      .execute();
    return true;
  }, call);
}

export async function rotateRefreshToken(
  db: PortcullisDatabase,
  id: string,
  change: { readonly usedAt: number; readonly successor: StoredRefreshToken; readonly sealedSuccessor: string },
  call?: WriteCall,
): Promise<boolean> {
  const { successor, usedAt, sealedSuccessor } = change;
  const row = refreshTokenRow(successor);
  return writeTransaction(db, async (transaction, engine) => {
    const family = await lockFamily(transaction, engine, row.family_id);
    if (family === undefined || family.revokedAt !== null) return false;
    const result = await transaction
      .updateTable("portcullis_refresh_tokens")
      .set({ used_at: usedAt, successor_id: row.id, sealed_successor: sealedSuccessor, sealed_at: usedAt })
      .where("id", "=", id)
      .where("family_id", "=", row.family_id)
      .where("used_at", "is", null)
      .where("revoked_at", "is", null)
      .executeTakeFirst();
    if (result.numUpdatedRows === 0n) return false;
    await prolong(transaction, row.family_id, family.expiresAt, successor.familyExpiresAt);
    await transaction.insertInto("portcullis_refresh_tokens").values(row).execute();
    return true;
  }, call);
}

/** Marks one family, or all of a subject's, and their tokens. Returns how many tokens changed. */
export async function revokeFamilies(
  transaction: PortcullisDatabase,
  engine: SqlEngine,
  which: { readonly familyId: string } | { readonly subject: string },
  at: number,
): Promise<number> {
  // In one order in every process, so that two revocations of a subject do not wait for each other in a circle.
  const families = transaction
    .selectFrom("portcullis_token_families")
    .select("id")
    .where("revoked_at", "is", null)
    .$if("familyId" in which, (query) => query.where("id", "=", "familyId" in which ? which.familyId : ""))
    .$if("subject" in which, (query) => query.where("subject", "=", "subject" in which ? which.subject : ""))
    .orderBy("id");
  const rows = await (engine === "sqlite" ? families : families.forUpdate()).execute();
  const ids = rows.map((row) => textOf(row.id));
  let changed = 0;
  for (let from = 0; from < ids.length; from += CHUNK) {
    const some = ids.slice(from, from + CHUNK);
    await transaction.updateTable("portcullis_token_families").set({ revoked_at: at }).where("id", "in", some).execute();
    // A statement of its own, so that it sees the successor a rotation committed while the lock was waited for.
    const result = await transaction.updateTable("portcullis_refresh_tokens").set({ revoked_at: at }).where("family_id", "in", some).where("revoked_at", "is", null).executeTakeFirst();
    changed += Number(result.numUpdatedRows);
  }
  return changed;
}

async function lockFamily(transaction: PortcullisDatabase, engine: SqlEngine, id: string): Promise<{ revokedAt: number | null; expiresAt: number } | undefined> {
  const query = transaction.selectFrom("portcullis_token_families").select(["revoked_at", "expires_at"]).where("id", "=", id);
  const row = await (engine === "sqlite" ? query : query.forUpdate()).executeTakeFirst();
  return row === undefined ? undefined : { revokedAt: row.revoked_at === null ? null : Number(row.revoked_at), expiresAt: Number(row.expires_at) };
}

/** A family ends when the last of its tokens does. */
async function prolong(transaction: PortcullisDatabase, id: string, from: number, to: number): Promise<void> {
  if (to > from) await transaction.updateTable("portcullis_token_families").set({ expires_at: to }).where("id", "=", id).execute();
}
