import mysql from "mysql2";
import { Kysely, MysqlDialect, PostgresDialect } from "kysely";
import pg from "pg";
import { afterAll, beforeAll, describe, test } from "vitest";
import {
  migrate,
  openMysql,
  openPostgres,
  SqlApiKeyStore,
  SqlCredentialStore,
  SqlSingleUseStore,
  SqlTokenStore,
  type OpenedServer,
  type PortcullisDatabase,
  type PortcullisTables,
} from "portcullis/sql";
import {
  apiKeyStoreConformance,
  type ConformanceCase,
  credentialStoreConformance,
  singleUseStoreConformance,
  tokenStoreConformance,
} from "portcullis/testing";
import { createRuntime } from "../../src/core/runtime.js";
import type { ApiKeyStore, CredentialStore, SingleUseStore, TokenStore } from "../../src/stores/contracts.js";
import { openDatabase } from "../../src/stores/database/open-database.js";
import { mariaDbDatabase, postgresDatabase } from "../support/servers.js";

/**
 * One database and one pool for a suite: each case begins with empty tables, which is faster than a database and
 * connections each.
 */
const ENGINES = [
  { engine: "PostgreSQL", newDatabase: postgresDatabase, open: openPostgres },
  { engine: "MariaDB", newDatabase: mariaDbDatabase, open: openMysql },
] as const;

const TABLES = [
  "portcullis_changes",
  "portcullis_subject_marks",
  "portcullis_refresh_tokens",
  "portcullis_token_families",
  "portcullis_api_keys",
  "portcullis_owner_marks",
  "portcullis_credentials",
  "portcullis_single_use",
] as const;

async function empty(db: PortcullisDatabase): Promise<void> {
  for (const table of TABLES) await db.deleteFrom(table).execute();
}

/** The suite closes each store; the pool is closed after the last. */
function closing<Store extends ApiKeyStore | TokenStore | CredentialStore | SingleUseStore>(
  store: Store,
  close: () => Promise<void> = () => Promise.resolve(),
): Store {
  return Object.assign(store, { close });
}

function each(cases: readonly ConformanceCase[]): void {
  for (const { name, run } of cases) test(name, run);
}

describe.each(ENGINES)("$engine", ({ newDatabase, open }) => {
  let url: string;
  let opened: OpenedServer;
  beforeAll(async () => {
    url = await newDatabase();
    // Two servers' speed on a busy machine is not what is tested here, so statements have time.
    opened = await open(url, { timeoutMs: 5000 });
    await migrate(opened.slowDb);
  });
  afterAll(() => opened.close());
  const fresh = async () => {
    await empty(opened.slowDb);
    return opened;
  };

  describe("API keys", () => {
    each(
      apiKeyStoreConformance(async () => {
        const { db, slowDb } = await fresh();
        return closing(new SqlApiKeyStore(db, { slowDb }));
      }),
    );
  });

  describe("tokens", () => {
    each(
      tokenStoreConformance(async () => {
        const { db, slowDb } = await fresh();
        return closing(new SqlTokenStore(db, { slowDb }));
      }),
    );
  });

  describe("credentials", () => {
    each(
      credentialStoreConformance(async () => {
        const { db, slowDb } = await fresh();
        return closing(new SqlCredentialStore(db, { slowDb }));
      }),
    );
  });

  describe("single-use records", () => {
    each(
      singleUseStoreConformance(async () => {
        const { db, slowDb } = await fresh();
        return closing(new SqlSingleUseStore(db, { slowDb }));
      }),
    );
  });

  describe("the stores of openDatabase, called before it is open", () => {
    const open = async () => {
      await fresh();
      return openDatabase(url, createRuntime(), { timeoutMs: 5000 });
    };
    each(
      apiKeyStoreConformance(async () => {
        const opened = await open();
        return closing(opened.apiKeys, () => opened.close());
      }),
    );
    each(
      tokenStoreConformance(async () => {
        const opened = await open();
        return closing(opened.tokens, () => opened.close());
      }),
    );
    each(
      credentialStoreConformance(async () => {
        const opened = await open();
        return closing(opened.credentials, () => opened.close());
      }),
    );
    each(
      singleUseStoreConformance(async () => {
        const opened = await open();
        return closing(opened.singleUse, () => opened.close());
      }),
    );
  });
});

/** A pool as an app makes it: no time limits, MySQL at REPEATABLE READ, and no count of rows that matched but did not change. */
const INSTANCES = [
  {
    engine: "PostgreSQL",
    newDatabase: postgresDatabase,
    dialect: (url: string) => new PostgresDialect({ pool: new pg.Pool({ connectionString: url, max: 5 }) }),
  },
  {
    engine: "MariaDB",
    newDatabase: mariaDbDatabase,
    dialect: (url: string) =>
      new MysqlDialect({
        pool: mysql.createPool({ uri: url, connectionLimit: 5, flags: ["-FOUND_ROWS"], charset: "utf8mb4" }),
      }),
  },
];

describe.each(INSTANCES)("a Kysely instance of the app on $engine", ({ newDatabase, dialect }) => {
  let db: PortcullisDatabase;
  beforeAll(async () => {
    db = new Kysely<PortcullisTables>({ dialect: dialect(await newDatabase()) });
    await migrate(db);
  });
  afterAll(() => db.destroy());
  const fresh = async () => {
    await empty(db);
    return openDatabase(db, createRuntime());
  };
  each(
    apiKeyStoreConformance(async () => {
      const opened = await fresh();
      return closing(opened.apiKeys);
    }),
  );
  each(
    tokenStoreConformance(async () => {
      const opened = await fresh();
      return closing(opened.tokens);
    }),
  );
  each(
    credentialStoreConformance(async () => {
      const opened = await fresh();
      return closing(opened.credentials);
    }),
  );
  each(
    singleUseStoreConformance(async () => {
      const opened = await fresh();
      return closing(opened.singleUse);
    }),
  );
});
