import type { Insertable } from "kysely";
import { systemClock, type Clock } from "../../core/clock.js";
import {
  isKeyNotice,
  type Change,
  type ChangeBatch,
  type ChangeSource,
  type Denial,
  type KeyNotice,
} from "../revocations/changes.js";
import { integer, nameText } from "../records.js";
import { advance, begin, readPosition, startOf, type ReturnedRow, writePosition } from "./change-position.js";
import { textOf } from "./rows.js";
import type { ChangeTable, PortcullisDatabase } from "./schema.js";
import { read, write } from "./transaction.js";

/** Rows of one query. */
const PAGE = 1000;
/** Names in one IN list. */
const CHUNK = 200;
/**
 * How long the change of an API key is kept for other processes, in milliseconds. A process that has not read for
 * longer loads everything again.
 */
const KEY_CHANGE_MS = 600_000;
/**
 * Number of key changes recorded here between two deletions of old ones. This matters to apps that use only API keys.
 */
const RECORDS_PER_CLEANING = 50;

/** Objects passed to a `SqlChangeSource`. */
export interface SqlChangeSourceDependencies {
  /** The time, for tests. Default: the clock of the machine. */
  readonly clock?: Clock | undefined;
  /** The same database with longer time limits, for loading. `db` when absent. */
  readonly slowDb?: PortcullisDatabase | undefined;
}

type ChangeRow = Insertable<ChangeTable>;
type Row = {
  seq: number;
  kind: ChangeTable["kind"];
  name: string;
  cutOff: number;
  endsAt: number;
  kept: string | null;
};

/**
 * The change log that processes share, in the table `portcullis_changes`. A row counts from its commit on. `since`
 * reads by number and, because numbers are assigned before the commit, reads the rows of the last 30 seconds again.
 *
 * @example
 * ```ts
 * import { openPostgres, SqlChangeSource } from "portcullis/sql";
 *
 * const { db } = await openPostgres("postgres://app@localhost/app");
 * const changes = new SqlChangeSource(db);
 * ```
 */
export class SqlChangeSource implements ChangeSource {
  readonly name = "sql";
  readonly #db: PortcullisDatabase;
  readonly #slowDb: PortcullisDatabase;
  readonly #clock: Clock;
  #keyChanges = 0;

  constructor(db: PortcullisDatabase, options: SqlChangeSourceDependencies = {}) {
    this.#db = db;
    this.#slowDb = options.slowDb ?? db;
    this.#clock = options.clock ?? systemClock;
  }

  async load(): Promise<ChangeBatch> {
    const began = this.#clock.monotonic();
    // Read before the rows, so that rows written meanwhile are read again.
    const highest = await read(this.#slowDb, (db) =>
      db
        .selectFrom("portcullis_changes")
        .select((eb) => eb.fn.max("seq").as("top"))
        .executeTakeFirst(),
    );
    const top = Number(highest?.top ?? 0);
    const changes: Change[] = [];
    const now = this.#clock.now();
    for await (const page of pages(this.#slowDb, 0, now))
      for (const row of page) {
        const change = changeOf(row);
        if (!isKeyNotice(change)) changes.push(change);
      }
    return { changes, position: writePosition(begin(top, began, now)), gap: false };
  }

  async since(position: string): Promise<ChangeBatch> {
    const from = readPosition(position);
    const began = this.#clock.monotonic();
    const wall = this.#clock.now();
    // If the process or its machine was suspended, changes that it has not read may have been deleted.
    if (from === undefined || Math.max(began - from.readAt, wall - from.wallAt) > KEY_CHANGE_MS / 2)
      return { changes: [], position, gap: true };
    const changes: Change[] = [];
    const returned = new Map(from.returned);
    const seen: ReturnedRow[] = [];
    for await (const page of pages(this.#db, startOf(from))) {
      for (const row of page) {
        const print = printOf(row);
        seen.push([row.seq, print]);
        if (returned.get(row.seq) !== print) changes.push(changeOf(row));
      }
    }
    return { changes, position: writePosition(advance(from, seen, began, this.#clock.monotonic(), wall)), gap: false };
  }

  /** Does not write a change again that the log already contains, as strict or stricter. */
  async record(changes: readonly Change[]): Promise<void> {
    const denials = changes.filter((change): change is Denial => !isKeyNotice(change));
    const keys = changes.filter(isKeyNotice);
    const rows = [...(await this.#missing(denials)).map(rowOf), ...keys.map((key) => keyRow(key, this.#clock.now()))];
    for (let from = 0; from < rows.length; from += CHUNK) {
      const some = rows.slice(from, from + CHUNK);
      await write(this.#db, (db) => db.insertInto("portcullis_changes").values(some).execute());
    }
    if (keys.length > 0 && this.#keyChanges++ % RECORDS_PER_CLEANING === 0)
      await this.#deleteOldKeyChanges().catch(() => undefined);
  }

  restore(denials: readonly Denial[]): Promise<void> {
    return this.record(denials);
  }

  async #missing(denials: readonly Denial[]): Promise<Denial[]> {
    const missing: Denial[] = [];
    for (const kind of ["token", "family", "subject", "principal"] as const) {
      let left = denials.filter((denial) => denial.kind === kind);
      while (left.length > 0) {
        // The answer has names, so one query has one denial of each.
        const some = [...new Map(left.map((denial) => [denial.name, denial])).values()].slice(0, CHUNK);
        const asked = new Set(some);
        left = left.filter((denial) => !asked.has(denial));
        const wanted = some.map(rowOf);
        // One row alone must cover the change, because rows end separately. The database compares, because a subject
        // may have thousands of rows.
        const rows = await read(this.#db, (db) =>
          db
            .selectFrom("portcullis_changes")
            .select("name")
            .distinct()
            .where("kind", "=", kind)
            .where((eb) =>
              eb.or(
                wanted.map(({ name, cut_off, ends_at, kept }) =>
                  eb.and([
                    eb("name", "=", name),
                    eb("ends_at", ">=", ends_at),
                    eb("cut_off", ">=", cut_off),
                    kept == null ? eb("kept", "is", null) : eb.or([eb("kept", "is", null), eb("kept", "=", kept)]),
                  ]),
                ),
              ),
            )
            .execute(),
        );
        const held = new Set(rows.map((row) => textOf(row.name)));
        missing.push(...some.filter(({ name }) => !held.has(name)));
      }
    }
    return missing;
  }

  async #deleteOldKeyChanges(): Promise<void> {
    const now = this.#clock.now();
    const rows = await read(this.#db, (db) =>
      db
        .selectFrom("portcullis_changes")
        .select("seq")
        .where("ends_at", "<", now)
        .where("kind", "in", ["api-key", "owner"])
        .limit(500)
        .execute(),
    );
    if (rows.length === 0) return;
    const seqs = rows.map(({ seq }) => Number(seq));
    await write(this.#db, (db) => db.deleteFrom("portcullis_changes").where("seq", "in", seqs).execute());
  }
}

/** The row that records a denial. @throws TypeError when it is not storable */
export function rowOf(denial: Denial): ChangeRow {
  const { kind, name, endsAt } = denial;
  return {
    kind,
    name: nameText(name),
    cut_off: "cutOff" in denial ? integer(denial.cutOff) : 0,
    ends_at: integer(endsAt),
    kept: "keep" in denial && denial.keep !== undefined ? nameText(denial.keep) : null,
  };
}

function keyRow({ kind, name }: KeyNotice, now: number): ChangeRow {
  return { kind, name: nameText(name), cut_off: 0, ends_at: now + KEY_CHANGE_MS, kept: null };
}

/** Rows with a number above `after`, in order. Omits rows whose end is before `endsFrom`. */
async function* pages(db: PortcullisDatabase, after: number, endsFrom?: number): AsyncGenerator<Row[]> {
  for (let from = after; ;) {
    const start = from;
    let query = db.selectFrom("portcullis_changes").selectAll().where("seq", ">", start).orderBy("seq").limit(PAGE);
    if (endsFrom !== undefined) query = query.where("ends_at", ">=", endsFrom);
    const rows = (await read(db, () => query.execute())).map(plain);
    if (rows.length > 0) yield rows;
    if (rows.length < PAGE) return;
    from = rows[rows.length - 1]?.seq ?? start;
  }
}

function plain(row: {
  seq: unknown;
  kind: ChangeTable["kind"];
  name: string;
  cut_off: unknown;
  ends_at: unknown;
  kept: string | null;
}): Row {
  return {
    seq: Number(row.seq),
    kind: textOf(row.kind) as Row["kind"],
    name: textOf(row.name),
    cutOff: Number(row.cut_off),
    endsAt: Number(row.ends_at),
    kept: row.kept === null ? null : textOf(row.kept),
  };
}

/** Distinguishes two rows with the same number. Short and cheap: there may be thousands, four times a second. */
function printOf({ kind, name, cutOff, endsAt }: Row): string {
  return `${kind.charAt(0)}${cutOff} ${endsAt} ${name.slice(-12)}`;
}

function changeOf({ kind, name, cutOff, endsAt, kept }: Row): Change {
  if (kind === "api-key" || kind === "owner") return { kind, name };
  if (kind === "token" || kind === "family") return { kind, name, endsAt };
  return { kind, name, cutOff, endsAt, ...(kept === null ? {} : { keep: kept }) };
}
