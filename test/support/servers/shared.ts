import { randomBytes } from "node:crypto";
import type { EngineName } from "./binaries.js";
import { askBroker } from "./broker.js";
import { startMariaDb, mariaDbQuery } from "./mariadb.js";
import { givenUrl } from "./needed.js";
import { postgresQuery, startPostgres } from "./postgres.js";
import { startRedis } from "./redis.js";

/** A server that all test files of a run use, each under its own key prefix or database. It stops when the run ends. */
export interface SharedServer {
  readonly url: string;
}

const started = new Map<EngineName, Promise<SharedServer>>();

/** The server given by URL, that of the run, or, where no run has one, one of this process. */
function shared(engine: EngineName, start: () => Promise<SharedServer>): Promise<SharedServer> {
  const known = started.get(engine) ?? find(engine, start);
  started.set(engine, known);
  return known;
}

async function find(engine: EngineName, start: () => Promise<SharedServer>): Promise<SharedServer> {
  const url = givenUrl(engine) ?? (await askBroker(engine));
  return url === undefined ? start() : { url };
}

/** The Redis of REDIS_URL, or that of the run. */
export function sharedRedis(): Promise<SharedServer> {
  return shared("redis", startRedis);
}

/** The PostgreSQL of DATABASE_URL, or that of the run. Tests take `postgresDatabase()`. */
export function sharedPostgres(): Promise<SharedServer> {
  return shared("postgres", startPostgres);
}

/** The MySQL or MariaDB of DATABASE_URL, or that of the run. Tests take `mariaDbDatabase()`. */
export function sharedMariaDb(): Promise<SharedServer> {
  return shared("mariadb", startMariaDb);
}

/** A name no other test has: for a key prefix, a database, a schema. */
export function uniqueName(): string {
  return `test_${randomBytes(6).toString("hex")}`;
}

/** A new, empty database on the shared PostgreSQL. */
export async function postgresDatabase(): Promise<string> {
  const { url } = await sharedPostgres();
  const name = uniqueName();
  await postgresQuery(url, `create database ${name}`);
  return withPath(url, name);
}

/** A new, empty database on the shared MariaDB. */
export async function mariaDbDatabase(): Promise<string> {
  const { url } = await sharedMariaDb();
  const name = uniqueName();
  await mariaDbQuery(url, `create database ${name}`);
  return withPath(url, name);
}

function withPath(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}
