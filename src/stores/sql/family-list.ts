import { sql } from "kysely";
import type { StoredTokenFamily } from "../contracts.js";
import type { SqlEngine } from "./engines.js";
import { textOf } from "./rows.js";
import type { PortcullisDatabase, TokenFamilyRow } from "./schema.js";

/**
 * The families of a subject that are in force, newest first. Two indexes have families in this order: one has all that
 * were not ended individually, the other those of them that began after the subject was last cut off.
 */
export async function listFamilies(
  db: PortcullisDatabase,
  engine: SqlEngine,
  subject: string,
  now: number,
  limit: number,
  after: StoredTokenFamily | undefined,
): Promise<StoredTokenFamily[]> {
  // A statement of its own: with a join, PostgreSQL expects few rows to remain, and sorts them all.
  const cutOff = await db
    .selectFrom("portcullis_subject_marks")
    .select("mark")
    .where("subject", "=", subject)
    .executeTakeFirst();
  const index = cutOff === undefined ? "portcullis_families_in_force" : "portcullis_families_by_mark";
  // MariaDB would begin with the newest, even for a page far from it.
  const alias = engine === "mysql" ? sql`family force index (${sql.id(index)})` : sql`family`;
  let query = db
    .selectFrom(sql<TokenFamilyRow>`portcullis_token_families`.as<"family">(alias))
    .selectAll()
    .where("revoked_at", "is", null)
    .where("created_at", "is not", null)
    .where("idle_ends_at", ">", now)
    .where("expires_at", ">", now)
    .limit(limit);
  // A mark belongs to one subject. With a condition on the subject, an engine might choose the other index.
  query = cutOff === undefined ? query.where("subject", "=", subject) : query.where("subject_mark", "=", cutOff.mark);
  // `revoked_at` is always null here. PostgreSQL uses the order of the index only when it is told so, and MariaDB only when it is not.
  if (engine === "postgres") query = query.orderBy("revoked_at");
  query = query.orderBy("created_at", "desc").orderBy("id", "desc");
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
