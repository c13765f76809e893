import type { Runtime } from "../../core/runtime.js";
import { Secret } from "../../core/secret.js";
import { SettingsError } from "../../settings/errors.js";
import { SetupError } from "../../core/setup-error.js";
import type { ChangeSource } from "../revocations/changes.js";
import type { ApiKeyStore, CredentialStore, SingleUseStore, TokenStore } from "../contracts.js";
import { type DatabaseLocation, parseDatabaseUrl } from "./url.js";
import { LazyResource } from "./lazy-resource.js";
import { loadOptional } from "../optional-package.js";
import { reasonOf } from "../sql/errors.js";
// Types only: Kysely is an optional peer dependency. The dynamic import below loads it when a database is used.
import type * as Sql from "../sql/index.js";
import type { PortcullisDatabase } from "../sql/schema.js";
import {
  DeferredApiKeyStore,
  DeferredChangeSource,
  DeferredCredentialStore,
  DeferredSingleUseStore,
  DeferredTokenStore,
  type OpenedStores,
} from "./deferred-stores.js";

/** The stores of one database. */
export interface DatabaseStores {
  readonly apiKeys: ApiKeyStore;
  readonly tokens: TokenStore;
  /** What people prove; for accounts. */
  readonly credentials: CredentialStore;
  /** What can be used once; for accounts. */
  readonly singleUse: SingleUseStore;
  /** The changes that processes sharing the database must exchange; for a `ChangeFeed`. */
  readonly changes: ChangeSource;
  /**
   * Resolves when the database is open and its schema exists. Rejects with the reason otherwise, and may be called
   * again.
   */
  ready(): Promise<void>;
  /** Closes what this library opened. A Kysely instance that was passed in stays open. */
  close(): Promise<void>;
  /** JSON-able, without credentials. */
  describe(): Record<string, unknown>;
}

export interface OpenDatabaseSettings {
  /** On a server: milliseconds that getting a connection, and then each statement, may take (250). At most the layers' `storeTimeoutMs`. */
  readonly timeoutMs?: number | undefined;
}

/**
 * Starts to open a database and returns at once; its stores wait until it is open. While it cannot be opened, `ready()`
 * and every call of a store reject with the reason, and opening is tried again.
 *
 * @param database a URL of SQLite, PostgreSQL, MySQL or MariaDB, or a Kysely instance of one of them
 * @throws SettingsError when it is neither
 */
export function openDatabase(
  database: Secret | string | object,
  runtime: Runtime,
  options: OpenDatabaseSettings = {},
): DatabaseStores {
  const url = database instanceof Secret ? database.reveal() : database;
  const location = typeof url === "string" ? parseDatabaseUrl(url) : undefined;
  const instance = typeof url === "string" ? undefined : kyselyOf(url);
  const opening = new LazyResource<OpenedStores>((begun) => {
    if (instance !== undefined) return openInstance(instance, runtime);
    return openUrl(url as string, location as DatabaseLocation, runtime, { ...options, begun });
  });
  return {
    apiKeys: new DeferredApiKeyStore(opening),
    tokens: new DeferredTokenStore(opening),
    credentials: new DeferredCredentialStore(opening),
    singleUse: new DeferredSingleUseStore(opening),
    changes: new DeferredChangeSource(opening),
    ready: async () => {
      await opening.get();
    },
    close: () => opening.close(),
    describe: () => {
      const engine = location?.engine ?? opening.opened?.engine;
      const driver = opening.opened?.driver;
      return {
        ...(engine === undefined ? {} : { engine }),
        location: location?.name ?? "Kysely instance",
        ...(driver === undefined ? {} : { driver }),
      };
    },
  };
}

interface Opened {
  readonly db: PortcullisDatabase;
  readonly slowDb?: PortcullisDatabase;
  readonly driver: string;
  close(): Promise<void>;
}

type OpenUrlOptions = OpenDatabaseSettings & { readonly begun: (close: () => Promise<void>) => void };

async function openUrl(
  url: string,
  location: DatabaseLocation,
  runtime: Runtime,
  options: OpenUrlOptions,
): Promise<OpenedStores> {
  const sql = await loadSql();
  const opened: Opened = await openByDriver(sql, url, location.engine, options);
  options.begun(opened.close);
  try {
    return await storesOf(sql, opened, runtime);
  } catch (error) {
    await opened.close();
    if (error instanceof SetupError || location.engine === "sqlite") throw error;
    throw new SetupError(
      `The ${location.engine} database ${location.name} cannot be used: ${withoutPassword(reasonOf(error), url)}.`,
      { cause: error },
    );
  }
}

async function openByDriver(
  sql: typeof Sql,
  url: string,
  engine: DatabaseLocation["engine"],
  options: OpenDatabaseSettings,
): Promise<Opened> {
  switch (engine) {
    case "sqlite":
      return sql.openSqlite(url);
    case "postgres":
      return { ...(await sql.openPostgres(url, options)), driver: "pg" };
    case "mysql":
      return { ...(await sql.openMysql(url, options)), driver: "mysql2" };
  }
}

async function openInstance(db: PortcullisDatabase, runtime: Runtime): Promise<OpenedStores> {
  return storesOf(await loadSql(), { db, driver: "kysely", close: () => Promise.resolve() }, runtime);
}

async function storesOf(
  sql: typeof Sql,
  { db, slowDb, driver, close }: Opened,
  runtime: Runtime,
): Promise<OpenedStores> {
  const apiKeys = new sql.SqlApiKeyStore(db, { slowDb });
  const tokens = new sql.SqlTokenStore(db, { clock: runtime.clock, slowDb });
  await apiKeys.init();
  await tokens.init();
  return {
    engine: await sql.engineOf(db),
    apiKeys,
    tokens,
    changes: tokens.changes,
    credentials: new sql.SqlCredentialStore(db, { clock: runtime.clock, slowDb }),
    singleUse: new sql.SqlSingleUseStore(db, { slowDb }),
    driver,
    close,
  };
}

/** Removes the password from an error message. Servers and drivers do not repeat passwords; this is a safeguard. */
function withoutPassword(text: string, url: string): string {
  const { password, searchParams } = new URL(url);
  return [password, decodeURIComponent(password), ...searchParams.getAll("password")]
    .filter((secret) => secret !== "")
    .reduce((safe, secret) => safe.replaceAll(secret, "[secret]"), text);
}

function loadSql(): Promise<typeof Sql> {
  return loadOptional("A database needs", "kysely", () => import("../sql/index.js"));
}

/** The app's plugins (such as one that renames columns) must not change what the stores read and write. */
function kyselyOf(value: object): PortcullisDatabase {
  const db = value as Partial<PortcullisDatabase>;
  const looksRight = [db.selectFrom, db.insertInto, db.updateTable, db.connection, db.withoutPlugins].every(
    (method) => typeof method === "function",
  );
  if (looksRight && db.isTransaction !== true) return (value as PortcullisDatabase).withoutPlugins();
  throw new SettingsError([
    {
      code: "wrong-type",
      path: "database",
      message: looksRight
        ? "The database is a Kysely transaction, not a Kysely instance."
        : "The database must be a URL or a Kysely instance.",
      remedy:
        "Write a URL such as postgres://… or sqlite:path/to/file.db, or pass an instance made by new Kysely({ dialect }).",
    },
  ]);
}
