import { randomBytes } from "node:crypto";
import { startMariaDb, mariaDbQuery } from "./mariadb.js";
import { givenUrl } from "./needed.js";
import { postgresQuery, startPostgres } from "./postgres.js";
import { startRedis } from "./redis.js";

/** A server several tests use, each under its own key prefix or database. It stops when the test process ends. */
export interface SharedServer {
  readonly url: string;
}

const started = new Map<string, Promise<SharedServer>>();

function once(name: string, given: string | undefined, start: () => Promise<SharedServer>): Promise<SharedServer> {
  const known = started.get(name) ?? (given === undefined ? start() : Promise.resolve({ url: given }));
  started.set(name, known);
  return known;
}

/** REDIS_URL, or one Redis for this process. */
export function sharedRedis(): Promise<SharedServer> {
  return once("redis", givenUrl("redis"), startRedis);
}

/** The PostgreSQL of DATABASE_URL, or one for this process. Tests take `postgresDatabase()`. */
export function sharedPostgres(): Promise<SharedServer> {
  return once("postgres", givenUrl("postgres"), startPostgres);
}

/** The MySQL or MariaDB of DATABASE_URL, or one for this process. Tests take `mariaDbDatabase()`. */
export function sharedMariaDb(): Promise<SharedServer> {
  return once("mariadb", givenUrl("mariadb"), startMariaDb);
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
