/** `portcullis/sql`: API keys and tokens in a SQL database by way of Kysely. */
export { SqlApiKeyStore } from "./api-key-store.js";
export { SqlTokenStore, type SqlTokenStoreOptions } from "./token-store.js";
export { openSqlite, type OpenedSqlite, type OpenSqliteOptions } from "./sqlite-driver.js";
export { SQLITE_DRIVERS, type SqliteDriverName } from "./sqlite-engines.js";
export { migrate, migrationSql, SCHEMA_VERSION } from "./migrations.js";
export type {
  ApiKeyTable,
  DenialTable,
  PortcullisDatabase,
  PortcullisTables,
  RefreshTokenTable,
  SchemaTable,
  TokenFamilyTable,
} from "./schema.js";
