import { randomBytes } from "node:crypto";
import { setImmediate as yieldToOthers } from "node:timers/promises";
import { NOT_ENDED_WITH_OWNER } from "./marked-keys.js";
import type { SqlEngine } from "./engines.js";
import { textOf } from "./rows.js";
import type { PortcullisDatabase } from "./schema.js";
import { writeTransaction } from "./transaction.js";

/** A mark that is replaced before its transaction ends. */
const NO_MARK = "";

export interface OwnerRevocation {
  readonly ownerId: string;
  readonly at: number;
  readonly reason: string;
  /** Id of a key that stays in force if it is. */
  readonly keep: string | undefined;
  /** Does nothing when the owner's keys have been ended at this time or later. */
  readonly unlessEndedSince: number | undefined;
}

/** Writes one mark, however many keys the owner has. It ends the keys that were inserted before it. */
export async function markOwner(
  transaction: PortcullisDatabase,
  engine: SqlEngine,
  { ownerId, at, reason, keep, unlessEndedSince = Infinity }: OwnerRevocation,
): Promise<void> {
  // First, so that there is a row to lock: calls that run at once run one after another.
  const insert = transaction
    .insertInto("portcullis_owner_marks")
    .values({ owner_id: ownerId, mark: NO_MARK, revoked_at: 0, reason });
  await (
    engine === "mysql"
      ? insert.onDuplicateKeyUpdate((eb) => ({ owner_id: eb.ref("owner_id") }))
      : insert.onConflict((conflict) => conflict.doNothing())
  ).execute();
  const query = transaction
    .selectFrom("portcullis_owner_marks")
    .select(["mark", "revoked_at"])
    .where("owner_id", "=", ownerId);
  const known = await (engine === "sqlite" ? query : query.forUpdate()).executeTakeFirstOrThrow();
  const isFirst = textOf(known.mark) === NO_MARK;
  if (!isFirst && Number(known.revoked_at) >= unlessEndedSince) return;
  const mark = randomBytes(16).toString("base64url");
  if (keep !== undefined) {
    const kept = transaction.updateTable("portcullis_api_keys").set({ owner_mark: mark }).where("id", "=", keep);
    const ofOwner = kept.where("owner_id", "=", ownerId);
    // Only a key that no earlier mark has ended. The placeholder is no mark.
    await (isFirst ? ofOwner : ofOwner.where(NOT_ENDED_WITH_OWNER)).execute();
  }
  await transaction
    .updateTable("portcullis_owner_marks")
    .set({ mark, reason, revoked_at: Math.max(at, Number(known.revoked_at)) })
    .where("owner_id", "=", ownerId)
    .execute();
}

/** Records written in one transaction, so that a long clean-up does not block other writers. */
const WRITTEN_PER_TURN = 500;

/** Writes the end of the keys that the owner's mark has ended into their records. See `ApiKeyStore.writeEndsOf`. */
export async function writeEndsOf(
  db: PortcullisDatabase,
  ownerId: string,
  onTurn: (count: number) => boolean,
): Promise<void> {
  for (let after: EndedKey | undefined; ;) {
    const from = after;
    const ended = await writeTransaction(db, (transaction, engine) =>
      writeSomeEnds(transaction, engine, ownerId, from),
    );
    const goOn = onTurn(ended.length);
    after = ended.at(-1);
    if (!goOn || after === undefined || ended.length < WRITTEN_PER_TURN) return;
    await yieldToOthers();
  }
}

interface EndedKey {
  readonly id: string;
  readonly createdAt: number;
}

async function writeSomeEnds(
  transaction: PortcullisDatabase,
  engine: SqlEngine,
  ownerId: string,
  after: EndedKey | undefined,
): Promise<EndedKey[]> {
  const current = transaction
    .selectFrom("portcullis_owner_marks")
    .select(["mark", "revoked_at", "reason"])
    .where("owner_id", "=", ownerId);
  // Locked: keys with a newer mark than this one are in force.
  const mark = await (engine === "sqlite" ? current : current.forUpdate()).executeTakeFirst();
  if (mark === undefined) return [];
  let query = transaction
    .selectFrom("portcullis_api_keys")
    .select(["id", "created_at"])
    .where("owner_id", "=", ownerId)
    .where("revoked_at", "is", null)
    .where((eb) => eb.or([eb("owner_mark", "is", null), eb("owner_mark", "<>", textOf(mark.mark))]))
    .orderBy("created_at", "desc")
    .orderBy("id", "desc")
    .limit(WRITTEN_PER_TURN);
  if (after !== undefined)
    query = query
      .where("created_at", "<=", after.createdAt)
      .where((eb) => eb(eb.refTuple("created_at", "id"), "<", eb.tuple(after.createdAt, after.id)));
  const rows = await (engine === "sqlite" ? query : query.forUpdate()).execute();
  const ended = rows.map((row) => ({ id: textOf(row.id), createdAt: Number(row.created_at) }));
  if (ended.length > 0)
    await transaction
      .updateTable("portcullis_api_keys")
      .set({ revoked_at: mark.revoked_at, revoked_reason: textOf(mark.reason), due_at: null, idle_at: null })
      .where(
        "id",
        "in",
        ended.map(({ id }) => id),
      )
      .execute();
  return ended;
}
