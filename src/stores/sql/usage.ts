import { sql } from "kysely";
import type { UsageBatch } from "../contracts.js";
import { integer, isStorable } from "../records.js";
import type { SqlEngine } from "./engines.js";
import type { PortcullisDatabase } from "./schema.js";

/**
 * The used ids, each once, in the order in which every process locks them. Omits unstorable ids, which cannot exist.
 */
export function sumUsage(batch: readonly UsageBatch[]): UsageBatch[] {
  const sums = new Map<string, UsageBatch>();
  for (const { id, count, lastUsedAt } of batch) {
    if (!isStorable(id)) continue;
    const known = sums.get(id);
    sums.set(id, {
      id,
      count: integer(count + (known?.count ?? 0)),
      lastUsedAt: Math.max(integer(lastUsedAt), known?.lastUsedAt ?? lastUsedAt),
    });
  }
  return [...sums.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

/**
 * Adds all counts in one statement, which is all or nothing. It uses `CASE` instead of a joined list of values, because
 * every engine has it and MySQL does not use the index for a joined JSON_TABLE; 500 ids take about 10 ms.
 */
export async function addUsage(db: PortcullisDatabase, engine: SqlEngine, uses: readonly UsageBatch[]): Promise<void> {
  const ids = sql.join(uses.map(({ id }) => sql`${id}`));
  const counts = sql.join(
    uses.map(({ id, count }) => sql`when ${id} then usage_count + ${count}`),
    sql` `,
  );
  const times = sql.join(
    uses.map(
      ({ id, lastUsedAt }) =>
        sql`when ${id} then case when last_used_at >= ${lastUsedAt} then last_used_at else ${lastUsedAt} end`,
    ),
    sql` `,
  );
  // Null while the key is not listed by its last use.
  const idle = sql.join(
    uses.map(
      ({ id, lastUsedAt }) =>
        sql`when ${id} then case when idle_at < ${lastUsedAt} then ${lastUsedAt} else idle_at end`,
    ),
    sql` `,
  );
  // Two batches that lock the same rows in different orders would wait for each other. SQLite has only one writer.
  const chosen =
    engine === "postgres"
      ? sql`id in (select id from portcullis_api_keys where id in (${ids}) order by id for update)`
      : engine === "mysql"
        ? sql`id in (${ids}) order by id`
        : sql`id in (${ids})`;
  await sql`update portcullis_api_keys set usage_count = case id ${counts} else usage_count end, last_used_at = case id ${times} else last_used_at end, idle_at = case id ${idle} else idle_at end where ${chosen}`.execute(
    db,
  );
}
