import { DummyDriver, Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler, sql, type Compilable } from "kysely";
import { SetupError } from "../../settings/errors.js";
import type { PortcullisDatabase, PortcullisTables } from "./schema.js";
import { retryBusy, writeTransaction } from "./transaction.js";

type Statement = Compilable & { execute(): Promise<unknown> };

/** Text that is looked up by. MySQL indexes no TEXT of unbounded length; SQLite takes it as TEXT. Compared byte by byte. */
const NAME = "varchar(255)";

/** The schema, step by step. A step that has been released is never changed; a new version is a new step. */
const STEPS: readonly ((db: PortcullisDatabase) => Statement[])[] = [
  (db) => [
    db.schema
      .createTable("portcullis_api_keys")
      .addColumn("id", NAME, (column) => column.primaryKey().notNull())
      .addColumn("owner_id", NAME, (column) => column.notNull())
      .addColumn("name", "text", (column) => column.notNull())
      .addColumn("hash_algorithm", "varchar(32)", (column) => column.notNull())
      .addColumn("hash_digest", "text", (column) => column.notNull())
      .addColumn("scopes", "text", (column) => column.notNull())
      .addColumn("roles", "text", (column) => column.notNull())
      .addColumn("allow_list", "text", (column) => column.notNull())
      .addColumn("rate_limit", "text")
      .addColumn("metadata", "text", (column) => column.notNull())
      .addColumn("created_at", "bigint", (column) => column.notNull())
      .addColumn("expires_at", "bigint")
      .addColumn("revoked_at", "bigint")
      .addColumn("revoked_reason", "text")
      .addColumn("rotated_to", NAME)
      .addColumn("grace_until", "bigint")
      .addColumn("usage_count", "bigint", (column) => column.notNull())
      .addColumn("last_used_at", "bigint"),
    db.schema.createIndex("portcullis_api_keys_by_owner").on("portcullis_api_keys").columns(["owner_id", "created_at desc", "id desc"]),
    db.schema
      .createTable("portcullis_token_families")
      .addColumn("id", NAME, (column) => column.primaryKey().notNull())
      .addColumn("subject", NAME, (column) => column.notNull())
      .addColumn("expires_at", "bigint", (column) => column.notNull())
      .addColumn("revoked_at", "bigint"),
    db.schema.createIndex("portcullis_families_by_subject").on("portcullis_token_families").columns(["subject"]),
    db.schema.createIndex("portcullis_families_by_end").on("portcullis_token_families").columns(["expires_at"]),
    db.schema
      .createTable("portcullis_refresh_tokens")
      .addColumn("id", NAME, (column) => column.primaryKey().notNull())
      .addColumn("hash", "text", (column) => column.notNull())
      .addColumn("family_id", NAME, (column) => column.notNull().references("portcullis_token_families.id"))
      .addColumn("subject", NAME, (column) => column.notNull())
      .addColumn("scopes", "text", (column) => column.notNull())
      .addColumn("roles", "text", (column) => column.notNull())
      .addColumn("claims", "text", (column) => column.notNull())
      .addColumn("issued_at", "bigint", (column) => column.notNull())
      .addColumn("expires_at", "bigint", (column) => column.notNull())
      .addColumn("family_expires_at", "bigint", (column) => column.notNull())
      .addColumn("used_at", "bigint")
      .addColumn("successor_id", NAME)
      .addColumn("sealed_successor", "text")
      .addColumn("revoked_at", "bigint"),
    db.schema.createIndex("portcullis_tokens_by_family").on("portcullis_refresh_tokens").columns(["family_id"]),
    db.schema.createIndex("portcullis_tokens_by_end").on("portcullis_refresh_tokens").columns(["used_at", "expires_at"]),
    db.schema.createIndex("portcullis_tokens_by_family_end").on("portcullis_refresh_tokens").columns(["family_expires_at"]),
    // Partial: it holds the seals of the last minutes and not every token that was ever used.
    db.schema.createIndex("portcullis_tokens_by_seal").on("portcullis_refresh_tokens").columns(["used_at"]).where(sql.ref("sealed_successor"), "is not", null),
    db.schema
      .createTable("portcullis_denials")
      .addColumn("kind", "varchar(16)", (column) => column.notNull())
      .addColumn("name", NAME, (column) => column.notNull())
      .addColumn("cut_off", "bigint", (column) => column.notNull())
      .addColumn("ends_at", "bigint", (column) => column.notNull())
      .addPrimaryKeyConstraint("portcullis_denials_key", ["kind", "name"]),
    db.schema.createIndex("portcullis_denials_by_end").on("portcullis_denials").columns(["ends_at"]),
  ],
];

/** The version of the schema this library works with. */
export const SCHEMA_VERSION = STEPS.length;

/**
 * Brings the schema to `SCHEMA_VERSION`. Does nothing when it is there already; several processes may do it at once: all
 * steps run in one transaction that only one of them can hold.
 *
 * @throws SetupError when the database was written by a newer version of this library, or is not SQLite
 */
export async function migrate(db: PortcullisDatabase): Promise<void> {
  await refuseOtherEngines(db);
  if ((await retryBusy(() => schemaVersion(db))) === SCHEMA_VERSION) return;
  await writeTransaction(db, async (transaction) => {
    await versionTable(transaction).execute();
    for (let version = await schemaVersion(transaction); version < SCHEMA_VERSION; version += 1) {
      for (const statement of STEPS[version]?.(transaction) ?? []) await statement.execute();
      await transaction.insertInto("portcullis_schema").values({ version: version + 1, applied_at: Date.now() }).execute();
    }
  });
}

/** The SQL that `migrate` runs on an empty SQLite database, for those who change schemas by hand or review. */
export function migrationSql(): string {
  const db = new Kysely<PortcullisTables>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (kysely) => new SqliteIntrospector(kysely),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  });
  const lines = [`${versionTable(db).compile().sql};`];
  STEPS.forEach((step, index) => {
    lines.push("", `-- version ${index + 1}`, ...step(db).map((statement) => `${statement.compile().sql};`));
    lines.push(`insert into "portcullis_schema" ("version", "applied_at") values (${index + 1}, 0);`);
  });
  return `${lines.join("\n")}\n`;
}

function versionTable(db: PortcullisDatabase): Statement {
  return db.schema
    .createTable("portcullis_schema")
    .ifNotExists()
    .addColumn("version", "integer", (column) => column.primaryKey().notNull())
    .addColumn("applied_at", "bigint", (column) => column.notNull());
}

/** The version the database is at; 0 when it has none of our tables. */
async function schemaVersion(db: PortcullisDatabase): Promise<number> {
  const known = await sql`select 1 from sqlite_master where type = 'table' and name = 'portcullis_schema'`.execute(db);
  if (known.rows.length === 0) return 0;
  const row = await db.selectFrom("portcullis_schema").select("version").orderBy("version", "desc").limit(1).executeTakeFirst();
  const version = Number(row?.version ?? 0);
  if (version > SCHEMA_VERSION) {
    throw new SetupError(`The database has schema version ${version}; this version of portcullis knows ${SCHEMA_VERSION}. Upgrade portcullis.`);
  }
  return version;
}

/** A Kysely instance may be of any engine; only SQLite knows this function. */
async function refuseOtherEngines(db: PortcullisDatabase): Promise<void> {
  let cause: unknown;
  try {
    const { rows } = await retryBusy(() => sql`select sqlite_version()`.execute(db));
    if (rows.length > 0) return;
  } catch (error) {
    // A server that could not be reached, say, is told as it is.
    if (!(error instanceof Error) || !error.message.includes("sqlite_version")) throw error;
    cause = error;
  }
  throw new SetupError("The Kysely instance given as `database` is not of SQLite, which is all this version supports.", { cause });
}
