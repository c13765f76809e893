import type { StoredRefreshToken } from "../contracts.js";
import { refreshTokenRow } from "./rows.js";
import type { PortcullisDatabase } from "./schema.js";
import { writeTransaction } from "./transaction.js";

/**
 * The three changes to families of refresh tokens. Each begins by writing the family's row. On SQLite there is one writer
 * anyway; on engines with row locks this makes a rotation and a revocation of one family wait for each other, so that
 * no successor is inserted behind a revocation's back.
 */
export async function insertRefreshToken(db: PortcullisDatabase, token: StoredRefreshToken): Promise<void> {
  const row = refreshTokenRow(token);
  const { family_id, subject, family_expires_at } = row;
  await writeTransaction(db, async (transaction) => {
    const isKnown = await touchFamily(transaction, family_id, token.familyExpiresAt);
    if (!isKnown) {
      await transaction.insertInto("portcullis_token_families").values({ id: family_id, subject, expires_at: family_expires_at }).execute();
    }
    const family = await transaction.selectFrom("portcullis_token_families").select("revoked_at").where("id", "=", family_id).executeTakeFirstOrThrow();
    // A family once revoked stays revoked, for late comers too.
    await transaction
      .insertInto("portcullis_refresh_tokens")
      .values({ ...row, revoked_at: row.revoked_at ?? family.revoked_at })
      .execute();
  });
}

export async function rotateRefreshToken(
  db: PortcullisDatabase,
  id: string,
  change: { readonly usedAt: number; readonly successor: StoredRefreshToken; readonly sealedSuccessor: string },
): Promise<boolean> {
  const { successor, usedAt, sealedSuccessor } = change;
  const row = refreshTokenRow(successor);
  return writeTransaction(db, async (transaction) => {
    if (!(await touchFamily(transaction, row.family_id, successor.familyExpiresAt))) return false;
    const result = await transaction
      .updateTable("portcullis_refresh_tokens")
      .set({ used_at: usedAt, successor_id: row.id, sealed_successor: sealedSuccessor })
      .where("id", "=", id)
      .where("family_id", "=", row.family_id)
      .where("used_at", "is", null)
      .where("revoked_at", "is", null)
      .executeTakeFirst();
    if (result.numUpdatedRows === 0n) return false;
    await transaction.insertInto("portcullis_refresh_tokens").values(row).execute();
    return true;
  });
}

/** Marks one family, or all of a subject's, and their tokens. Returns how many tokens changed. */
export async function revokeFamilies(
  transaction: PortcullisDatabase,
  which: { readonly familyId: string } | { readonly subject: string },
  at: number,
): Promise<number> {
  let families = transaction.updateTable("portcullis_token_families").set({ revoked_at: at }).where("revoked_at", "is", null);
  let tokens = transaction.updateTable("portcullis_refresh_tokens").set({ revoked_at: at }).where("revoked_at", "is", null);
  if ("familyId" in which) {
    families = families.where("id", "=", which.familyId);
    tokens = tokens.where("family_id", "=", which.familyId);
  } else {
    families = families.where("subject", "=", which.subject);
    tokens = tokens.where("family_id", "in", (eb) => eb.selectFrom("portcullis_token_families").select("id").where("subject", "=", which.subject));
  }
  await families.execute();
  const result = await tokens.executeTakeFirst();
  return Number(result.numUpdatedRows);
}

/** Locks the family's row by writing when it ends at the latest. False when there is no such family. */
async function touchFamily(transaction: PortcullisDatabase, familyId: string, expiresAt: number): Promise<boolean> {
  const result = await transaction
    .updateTable("portcullis_token_families")
    .set((eb) => ({ expires_at: eb.case().when("expires_at", "<", expiresAt).then(expiresAt).else(eb.ref("expires_at")).end() }))
    .where("id", "=", familyId)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}
