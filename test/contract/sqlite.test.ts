import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CamelCasePlugin, Kysely, SqliteDialect } from "kysely";
import { afterAll, describe, expect, test } from "vitest";
import {
  apiKeyStoreConformance,
  credentialStoreConformance,
  singleUseStoreConformance,
  tokenStoreConformance,
} from "portcullis/testing";
import { createRuntime } from "../../src/core/runtime.js";
import type { ApiKeyStore, CredentialStore, SingleUseStore, TokenStore } from "../../src/stores/contracts.js";
import { openDatabase } from "../../src/stores/database/open-database.js";
import { openSqlite, SqlApiKeyStore, SqlCredentialStore, SqlSingleUseStore, SqlTokenStore } from "portcullis/sql";
import { loadSqliteEngine, type SqliteDriverName } from "../../src/stores/sql/sqlite-engines.js";
import { DRIVERS_HERE, NODE_HAS_SQLITE } from "./drivers.js";

const folder = mkdtempSync(join(tmpdir(), "portcullis-contract-"));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
const freshFile = () => `sqlite:${join(folder, `${(files += 1)}.db`)}`;

/** The suite closes the store; the database goes with it. */
function closing<Store extends ApiKeyStore | TokenStore | CredentialStore | SingleUseStore>(
  store: Store,
  close: () => Promise<void>,
): Store {
  return Object.assign(store, { close });
}

async function apiKeysOn(url: string, driver: SqliteDriverName): Promise<ApiKeyStore> {
  const { db, close } = await openSqlite(url, { driver });
  return closing(new SqlApiKeyStore(db), close);
}

async function tokensOn(url: string, driver: SqliteDriverName): Promise<TokenStore> {
  const { db, close } = await openSqlite(url, { driver });
  return closing(new SqlTokenStore(db), close);
}

async function credentialsOn(url: string, driver: SqliteDriverName): Promise<CredentialStore> {
  const { db, close } = await openSqlite(url, { driver });
  return closing(new SqlCredentialStore(db), close);
}

async function singleUseOn(url: string, driver: SqliteDriverName): Promise<SingleUseStore> {
  const { db, close } = await openSqlite(url, { driver });
  return closing(new SqlSingleUseStore(db), close);
}

// Node 20 and 22 before 22.13 have no SQLite of their own, so the suite of node:sqlite runs on later Nodes only. What is
// chosen on this Node is asserted, so that a run cannot lose a driver without a test failing.
test(`on Node ${process.versions.node} the first choice is ${DRIVERS_HERE[0]}`, async () => {
  expect((await loadSqliteEngine()).name).toBe(NODE_HAS_SQLITE ? "node:sqlite" : "libsql");
});

for (const driver of DRIVERS_HERE) {
  describe(`API keys on SQLite in memory by ${driver}, Node ${process.versions.node}`, () => {
    for (const { name, run } of apiKeyStoreConformance(() => apiKeysOn("sqlite::memory:", driver))) test(name, run);
  });

  describe(`tokens on SQLite in memory by ${driver}, Node ${process.versions.node}`, () => {
    for (const { name, run } of tokenStoreConformance(() => tokensOn("sqlite::memory:", driver))) test(name, run);
  });

  describe(`API keys in a file by ${driver}, Node ${process.versions.node}`, () => {
    for (const { name, run } of apiKeyStoreConformance(() => apiKeysOn(freshFile(), driver))) test(name, run);
  });

  describe(`tokens in a file by ${driver}, Node ${process.versions.node}`, () => {
    for (const { name, run } of tokenStoreConformance(() => tokensOn(freshFile(), driver))) test(name, run);
  });

  describe(`stores of accounts in memory by ${driver}, Node ${process.versions.node}`, () => {
    const credentials = credentialStoreConformance(() => credentialsOn("sqlite::memory:", driver));
    const singleUse = singleUseStoreConformance(() => singleUseOn("sqlite::memory:", driver));
    for (const { name, run } of [...credentials, ...singleUse]) test(name, run);
  });

  describe(`stores of accounts in a file by ${driver}, Node ${process.versions.node}`, () => {
    const credentials = credentialStoreConformance(() => credentialsOn(freshFile(), driver));
    const singleUse = singleUseStoreConformance(() => singleUseOn(freshFile(), driver));
    for (const { name, run } of [...credentials, ...singleUse]) test(name, run);
  });
}

describe("the stores of openDatabase, called before it is open", () => {
  const open = () => openDatabase("sqlite::memory:", createRuntime());
  const keys = apiKeyStoreConformance(() => {
    const opened = open();
    return closing(opened.apiKeys, () => opened.close());
  });
  const tokens = tokenStoreConformance(() => {
    const opened = open();
    return closing(opened.tokens, () => opened.close());
  });
  const credentials = credentialStoreConformance(() => {
    const opened = open();
    return closing(opened.credentials, () => opened.close());
  });
  const singleUse = singleUseStoreConformance(() => {
    const opened = open();
    return closing(opened.singleUse, () => opened.close());
  });
  for (const { name, run } of [...keys, ...tokens, ...credentials, ...singleUse]) test(name, run);
});

describe("a Kysely instance of the app, with a plugin that renames columns", () => {
  const open = async () => {
    const engine = await loadSqliteEngine();
    const instance = new Kysely<unknown>({
      dialect: new SqliteDialect({ database: async () => engine.open(":memory:") }),
      plugins: [new CamelCasePlugin()],
    });
    return { opened: openDatabase(instance, createRuntime()), close: () => instance.destroy() };
  };
  const keys = apiKeyStoreConformance(async () => {
    const { opened, close } = await open();
    return closing(opened.apiKeys, close);
  });
  const tokens = tokenStoreConformance(async () => {
    const { opened, close } = await open();
    return closing(opened.tokens, close);
  });
  const credentials = credentialStoreConformance(async () => {
    const { opened, close } = await open();
    return closing(opened.credentials, close);
  });
  const singleUse = singleUseStoreConformance(async () => {
    const { opened, close } = await open();
    return closing(opened.singleUse, close);
  });
  for (const { name, run } of [...keys, ...tokens, ...credentials, ...singleUse]) test(name, run);
});
