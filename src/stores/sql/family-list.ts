import type { StoredTokenFamily } from "../contracts.js";
import type { SqlEngine } from "./engines.js";
import { textOf } from "./rows.js";
import type { PortcullisDatabase, TokenFamilyRow } from "./schema.js";

/** The families of a subject that are in force, newest first. `portcullis_families_in_force` has them in this order. */
export async function listFamilies(
  db: PortcullisDatabase,
  engine: SqlEngine,
  subject: string,
  now: number,
  limit: number,
  after: StoredTokenFamily | undefined,
): Promise<StoredTokenFamily[]> {
  // A statement of its own: with a join, PostgreSQL expects few rows to remain, and sorts them all.
  const revoked = await db
    .selectFrom("portcullis_subject_marks")
    .select("mark")
    .where("subject", "=", subject)
    .executeTakeFirst();
  let query = db
    .selectFrom("portcullis_token_families")
    .selectAll()
    .where("subject", "=", subject)
    .where("revoked_at", "is", null)
    .where("created_at", "is not", null)
    .where("idle_ends_at", ">", now)
    .where("expires_at", ">", now)
    .limit(limit);
  // Always null here. PostgreSQL uses the order of the index only when it is told so, and MariaDB only when it is not.
  if (engine === "postgres") query = query.orderBy("revoked_at");
  query = query.orderBy("created_at", "desc").orderBy("id", "desc");
  // Families without this mark began before the subject was last revoked.
  if (revoked !== undefined) query = query.where("subject_mark", "=", revoked.mark);
  if (after !== undefined) {
    // The second condition implies the first, which lets the index scan begin at the cursor.
    query = query
      .where("created_at", "<=", after.createdAt)
      .where((eb) => eb.or([eb("created_at", "<", after.createdAt), eb("id", "<", after.id)]));
  }
  return (await query.execute()).map(familyOf);
}

/** A family by its id, whether or not it is in force. */
export async function findFamily(db: PortcullisDatabase, id: string): Promise<StoredTokenFamily | null> {
  const row = await db.selectFrom("portcullis_token_families").selectAll().where("id", "=", id).executeTakeFirst();
  return row === undefined ? null : familyOf(row);
}

/** A family that an older version has begun and this one has not used shows only when it ends. */
function familyOf(row: TokenFamilyRow): StoredTokenFamily {
  const { created_at, last_used_at, idle_ends_at } = row;
  return Object.freeze({
    id: textOf(row.id),
    subject: textOf(row.subject),
    label: row.label === null ? null : textOf(row.label),
    createdAt: Number(created_at),
    lastUsedAt: Number(last_used_at ?? created_at),
    expiresAt: Number(idle_ends_at ?? row.expires_at),
    endsAt: Number(row.expires_at),
  });
}
