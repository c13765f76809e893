import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DummyDriver, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler, sql } from "kysely";
import { afterAll, describe, expect, test } from "vitest";
import { migrate, migrationSql, openSqlite, SCHEMA_VERSION, SqlApiKeyStore } from "portcullis/sql";
import { createRuntime } from "../../../src/core/runtime.js";
import { Secret } from "../../../src/core/secret.js";
import { SettingsError } from "../../../src/settings/errors.js";
import { SetupError } from "../../../src/core/setup-error.js";
import { openDatabase } from "../../../src/stores/database/open-database.js";
import { loadSqliteEngine } from "../../../src/stores/sql/sqlite-engines.js";
import { sampleKey } from "../../../src/testing/samples.js";
import { DRIVERS_HERE } from "../../contract/drivers.js";

const folder = mkdtempSync(join(tmpdir(), "portcullis-opening-"));
afterAll(() => rmSync(folder, { recursive: true }));

const VERSIONS = Array.from({ length: SCHEMA_VERSION }, (_, index) => index + 1);

let files = 0;
const freshPath = () => join(folder, `${(files += 1)}.db`);

function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("the database setting", () => {
  test.each([
    ["postgres:app:hunter2", "The postgres: URL is malformed."],
    ["postgres://app:hunter2@db.example", "The postgres: URL does not name a database."],
    ["postgresql://app:hunter2#x@db.example/app", "The postgresql: URL is malformed."],
    ["postgres://app:%zzhunter2@db.example/app", "The postgres: URL is malformed."],
    ["MySQL://app:hunter2@db.example:port/app", "The mysql: URL is malformed."],
    ["mariadb://app:hunter2@db.example/", "The mariadb: URL does not name a database."],
    ["mysql://app:hunter2@db.example/a/b", "The mysql: URL does not name a database."],
    ["hunter2://x", "The scheme of the database URL is not supported."],
    ["hunter2", "The database is not a URL: it does not begin with a scheme such as postgres: or sqlite:."],
    ["", "The database is not a URL: it does not begin with a scheme such as postgres: or sqlite:."],
    ["sqlite:", "The sqlite: URL does not name a file."],
    ["sqlite:folder/", "The sqlite: URL does not name a file."],
    [
      "sqlite://hunter2/app.db",
      "A sqlite: URL cannot have a host, so exactly two slashes after the scheme are not allowed.",
    ],
    ["sqlite:app.db?key=hunter2", "A sqlite: URL cannot have options or contain '?', '#' or NUL."],
    ["sqlite:a\0b", "A sqlite: URL cannot have options or contain '?', '#' or NUL."],
  ])("%j is refused at once, without repeating it", (url, message) => {
    for (const given of [url, new Secret(url)]) {
      const error = thrownBy(() => openDatabase(given, createRuntime()));
      expect(error).toBeInstanceOf(SettingsError);
      const { issues } = error as SettingsError;
      expect(issues).toMatchObject([{ code: "wrong-value", path: "database", message }]);
      expect(`${String(error)}${JSON.stringify(issues)}`).not.toContain("hunter2");
    }
  });

  test.each([[{}], [[]], [new Date()], [{ selectFrom: () => undefined }]])(
    "the object %j is refused: it is no Kysely instance",
    (value) => {
      const error = thrownBy(() => openDatabase(value, createRuntime()));
      expect((error as SettingsError).issues).toMatchObject([
        { code: "wrong-type", path: "database", message: "The database must be a URL or a Kysely instance." },
      ]);
    },
  );

  test("a Kysely transaction is refused", async () => {
    const { db, close } = await openSqlite("sqlite::memory:");
    await db.transaction().execute(async (transaction) => {
      expect(thrownBy(() => openDatabase(transaction, createRuntime()))).toMatchObject({
        issues: [{ code: "wrong-type" }],
      });
    });
    await close();
  });

  test("a Kysely instance of another engine is refused when it is opened", async () => {
    const instance = new Kysely<unknown>({
      dialect: {
        createAdapter: () => new PostgresAdapter(),
        createDriver: () => new DummyDriver(),
        createIntrospector: (db) => new PostgresIntrospector(db),
        createQueryCompiler: () => new PostgresQueryCompiler(),
      },
    });
    await expect(openDatabase(instance, createRuntime()).ready()).rejects.toThrow(
      "The Kysely instance in `database` uses an engine that is not supported",
    );
  });

  test("a Kysely instance is used and stays open", async () => {
    const { db, close } = await openSqlite("sqlite::memory:");
    const opened = openDatabase(db, createRuntime());
    await opened.ready();
    await opened.apiKeys.insert(sampleKey());
    await opened.close();
    expect(await db.selectFrom("portcullis_api_keys").select("id").execute()).toEqual([{ id: "key-1" }]);
    expect(opened.describe()).toEqual({ engine: "sqlite", location: "Kysely instance", driver: "kysely" });
    await close();
  });

  test("three slashes begin an absolute path, as in file: URLs", async () => {
    const path = freshPath();
    const opened = openDatabase(`sqlite://${path}`, createRuntime());
    await opened.ready();
    expect(opened.describe()).toEqual({ engine: "sqlite", location: path, driver: DRIVERS_HERE[0] });
    await opened.close();
    await opened.close();
    expect(existsSync(path)).toBe(true);
    await expect(opened.apiKeys.get("x")).rejects.toThrow();
  });
});

describe.each(DRIVERS_HERE)("a file opened by %s", (driver) => {
  test("is made readable by its owner only, the files beside it too", async () => {
    const path = freshPath();
    const { db, close } = await openSqlite(`sqlite:${path}`, { driver });
    await migrate(db);
    const modes = [path, `${path}-wal`, `${path}-shm`].map((file) => (statSync(file).mode & 0o777).toString(8));
    expect(modes).toEqual(["600", "600", "600"]);
    await close();
  });

  test("keeps the mode its operator gave it", async () => {
    const path = freshPath();
    writeFileSync(path, "");
    chmodSync(path, 0o640);
    await (await openSqlite(`sqlite:${path}`, { driver })).close();
    expect((statSync(path).mode & 0o777).toString(8)).toBe("640");
  });

  test("is in WAL mode and waits for the disk at each commit", async () => {
    const { db, close } = await openSqlite(`sqlite:${freshPath()}`, { driver });
    const read = async (pragma: string) =>
      Object.values((await sql`pragma ${sql.raw(pragma)}`.execute(db)).rows[0] as object)[0] as unknown;
    expect([await read("journal_mode"), await read("synchronous"), await read("foreign_keys")]).toEqual(["wal", 2, 1]);
    await close();
  });

  test("in a missing folder, or below a file, is refused with the reason", async () => {
    await expect(openSqlite(`sqlite:${folder}/nowhere/app.db`, { driver })).rejects.toThrow(
      /cannot be opened: ENOENT.*Its folder must exist and be writable\./,
    );
    await expect(openSqlite(`sqlite:${folder}`, { driver })).rejects.toBeInstanceOf(SetupError);
  });

  test("is refused when it is not a database", async () => {
    const path = freshPath();
    writeFileSync(path, "x".repeat(4096));
    await expect(openSqlite(`sqlite:${path}`, { driver })).rejects.toThrow(/cannot be used: file is not a database/);
  });

  test("can be closed twice, before it was used and while it is written to", async () => {
    const unused = await openSqlite(`sqlite:${freshPath()}`, { driver });
    await Promise.all([unused.close(), unused.close()]);
    const { db, close } = await openSqlite(`sqlite:${freshPath()}`, { driver });
    await migrate(db);
    const store = new SqlApiKeyStore(db);
    const writing = store.insert(sampleKey());
    await Promise.all([writing, close()]);
    await expect(store.get("key-1")).rejects.toThrow("driver has already been destroyed");
  });
});

describe("the schema", () => {
  test("that is printed equals what migrate creates, and migrate accepts it", async () => {
    const engine = await loadSqliteEngine();
    const path = freshPath();
    const database = engine.open(path);
    for (const statement of migrationSql()
      .split(/;\s*$/m)
      .filter((text) => text.trim() !== ""))
      database.prepare(statement).run([]);
    database.close();

    const byHand = await openSqlite(`sqlite:${path}`);
    const byMigrate = await openSqlite("sqlite::memory:");
    await migrate(byMigrate.db);
    const dump = async ({ db }: typeof byHand) =>
      (await sql`select type, name, tbl_name, sql from sqlite_master order by name`.execute(db)).rows;
    expect(await dump(byHand)).toEqual(await dump(byMigrate));
    await migrate(byHand.db);
    expect(await byHand.db.selectFrom("portcullis_schema").selectAll().execute()).toEqual(
      VERSIONS.map((version) => ({ version, applied_at: 0 })),
    );
    await byHand.close();
    await byMigrate.close();
  });

  test("of a newer version is refused, and left alone", async () => {
    const { db, close } = await openSqlite("sqlite::memory:");
    await migrate(db);
    await db
      .insertInto("portcullis_schema")
      .values({ version: SCHEMA_VERSION + 3, applied_at: 0 })
      .execute();
    await expect(migrate(db)).rejects.toThrow(
      `The database has schema version ${SCHEMA_VERSION + 3}, but this version of portcullis supports only ${SCHEMA_VERSION}. Upgrade portcullis.`,
    );
    await expect(openDatabase(db, createRuntime()).ready()).rejects.toBeInstanceOf(SetupError);
    await close();
  });

  test("leaves an app's own tables alone", async () => {
    const { db, close } = await openSqlite("sqlite::memory:");
    await sql`create table users (id text primary key)`.execute(db);
    await sql`insert into users values ('u')`.execute(db);
    await migrate(db);
    expect((await sql`select * from users`.execute(db)).rows).toEqual([{ id: "u" }]);
    await close();
  });
});

test("a database that cannot be opened rejects ready() and every call with one reason, and nothing is left unhandled", async () => {
  const unhandled: unknown[] = [];
  const listen = (reason: unknown) => unhandled.push(reason);
  process.on("unhandledRejection", listen);
  const opened = openDatabase(`sqlite:${folder}/nowhere/app.db`, createRuntime());
  await new Promise((resolve) => setTimeout(resolve, 100));
  const reason = /cannot be opened: ENOENT/;
  const { apiKeys, tokens } = opened;
  for (const call of [
    () => opened.ready(),
    () => apiKeys.init(),
    () => apiKeys.insert(sampleKey()),
    () => apiKeys.get("x"),
    () => apiKeys.list("x", { limit: 1 }),
    () => apiKeys.revoke("x", 1, "y"),
    () => apiKeys.addUsage([]),
    () => tokens.init(),
    () => tokens.get("x"),
    () => tokens.revokeFamily("x", 1),
    () => tokens.denyAccessToken("x", 1),
    async () => tokens.isRevoked({ jti: "j", subject: "s", issuedAt: 0 }),
    () => tokens.deleteExpired(1),
  ]) {
    await expect(call()).rejects.toThrow(reason);
  }
  await opened.close();
  await new Promise((resolve) => setTimeout(resolve, 20));
  process.off("unhandledRejection", listen);
  expect(unhandled).toEqual([]);
});
