/** `portcullis/sql`: API keys and tokens in a SQL database, accessed with Kysely. */
export { SqlApiKeyStore, type SqlApiKeyStoreDependencies } from "./api-key-store.js";
export { SqlTokenStore, type SqlTokenStoreDependencies } from "./token-store.js";
export { SqlCredentialStore } from "./credential-store.js";
export { SqlSingleUseStore } from "./single-use-store.js";
export type { AccountStoreDependencies } from "./account-rows.js";
export { SqlChangeSource, type SqlChangeSourceDependencies } from "./change-source.js";
export { openSqlite, type OpenedSqlite, type OpenSqliteSettings } from "./sqlite-driver.js";
export { SQLITE_DRIVERS, type SqliteDriverName } from "./sqlite-engines.js";
export { openPostgres } from "./postgres.js";
export { openMysql } from "./mysql.js";
export type { OpenedServer, OpenServerSettings } from "./server-options.js";
export { engineOf, type SqlEngine } from "./engines.js";
export { migrate, migrationSql, SCHEMA_VERSION } from "./migrations.js";
export type {
  ApiKeyTable,
  ChangeTable,
  CredentialTable,
  OwnerMarkTable,
  PortcullisDatabase,
  PortcullisTables,
  RefreshTokenTable,
  SchemaTable,
  SingleUseTable,
  SubjectMarkTable,
  TokenFamilyTable,
} from "./schema.js";
export type {
  Change,
  ChangeBatch,
  ChangeRecord,
  ChangeSource,
  CutOff,
  Denial,
  KeyNotice,
} from "../revocations/changes.js";
export type { AccessTokenFacts } from "../contracts.js";
export { DatabaseTimeoutError, PoolBusyError } from "./errors.js";
