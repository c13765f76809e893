import type { Runtime } from "../core/runtime.js";
import { Secret } from "../core/secret.js";
import { SettingsError, SetupError } from "../settings/errors.js";
import type { ApiKeyStore, TokenStore } from "./contracts.js";
import { parseDatabaseUrl } from "./database-url.js";
// Types only: Kysely is an optional peer, loaded by the dynamic import below when a database is used.
import type * as Sql from "./sql/index.js";
import type { PortcullisDatabase } from "./sql/schema.js";
import { ApiKeysOfDatabase, TokensOfDatabase } from "./waiting-stores.js";

/** The stores of one database. */
export interface DatabaseStores {
  readonly apiKeys: ApiKeyStore;
  readonly tokens: TokenStore;
  /** Resolves when the database is open and its schema is there; rejects with the reason why not. */
  ready(): Promise<void>;
  /** Closes what was opened here. A Kysely instance that was passed in stays open. */
  close(): Promise<void>;
  /** JSON-able, without credentials. */
  describe(): Record<string, unknown>;
}

/** An open database and its stores. */
export interface OpenedStores {
  readonly apiKeys: ApiKeyStore;
  readonly tokens: TokenStore;
  readonly driver: string;
  close(): Promise<void>;
}

/**
 * Begins to open a database and returns at once: its stores wait until it is open. When it cannot be opened, `ready()`
 * and every call of a store reject with the reason.
 *
 * @param database a `sqlite:` URL, or a Kysely instance of SQLite
 * @throws SettingsError when it is neither
 */
export function openDatabase(database: Secret | string | object, runtime: Runtime): DatabaseStores {
  const url = database instanceof Secret ? database.reveal() : database;
  const location = typeof url === "string" ? parseDatabaseUrl(url).path : "Kysely instance";
  const opening = typeof url === "string" ? openUrl(url, runtime) : openInstance(kyselyOf(url), runtime);
  // Nobody may be waiting yet; those who will be get the same rejection.
  opening.catch(() => undefined);
  let driver: string | undefined;
  void opening.then(
    (opened) => (driver = opened.driver),
    () => undefined,
  );
  return {
    apiKeys: new ApiKeysOfDatabase(opening),
    tokens: new TokensOfDatabase(opening),
    ready: async () => {
      await opening;
    },
    close: async () => {
      const opened = await opening.catch(() => undefined);
      await opened?.close();
    },
    describe: () => ({ engine: "sqlite", location, ...(driver === undefined ? {} : { driver }) }),
  };
}

async function openUrl(url: string, runtime: Runtime): Promise<OpenedStores> {
  const sql = await loadSql();
  const opened = await sql.openSqlite(url);
  try {
    return { ...(await storesOf(sql, opened.db, runtime)), driver: opened.driver, close: () => opened.close() };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

async function openInstance(db: PortcullisDatabase, runtime: Runtime): Promise<OpenedStores> {
  const sql = await loadSql();
  return { ...(await storesOf(sql, db, runtime)), driver: "kysely", close: () => Promise.resolve() };
}

async function storesOf(sql: typeof Sql, db: PortcullisDatabase, runtime: Runtime): Promise<{ apiKeys: ApiKeyStore; tokens: TokenStore }> {
  const apiKeys = new sql.SqlApiKeyStore(db);
  const tokens = new sql.SqlTokenStore(db, { clock: runtime.clock });
  await apiKeys.init();
  await tokens.init();
  return { apiKeys, tokens };
}

async function loadSql(): Promise<typeof Sql> {
  try {
    return await import("./sql/index.js");
  } catch (error) {
    // MODULE_NOT_FOUND from the CommonJS build. Either message names the package.
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const isMissing = (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") && (error as Error).message.includes("'kysely'");
    if (!isMissing) throw error;
    throw new SetupError("A database needs the package kysely, which is not installed. Install it with: npm install kysely", { cause: error });
  }
}

/** A plugin of the app (such as one that renames columns) must not change what the stores read and write. */
function kyselyOf(value: object): PortcullisDatabase {
  const db = value as Partial<PortcullisDatabase>;
  const looksRight = [db.selectFrom, db.insertInto, db.updateTable, db.connection, db.withoutPlugins].every((method) => typeof method === "function");
  if (looksRight && db.isTransaction !== true) return (value as PortcullisDatabase).withoutPlugins();
  throw new SettingsError([
    {
      code: "wrong-type",
      path: "database",
      message: looksRight ? "The database is a Kysely transaction, which ends before the app does." : "The database is neither a URL nor a Kysely instance.",
      remedy: "Give a URL such as sqlite:path/to/file.db, or an instance made by new Kysely({ dialect }).",
    },
  ]);
}
