import { Kysely, PostgresDialect, type PostgresPool, type PostgresPoolClient } from "kysely";
import type { Pool, PoolClient, PoolConfig } from "pg";
import { withTimeout } from "../health/timeout.js";
import { noteEngine } from "./engines.js";
import { noAnswer } from "./errors.js";
import { loadDriver } from "./load-package.js";
import { Places } from "./places.js";
import type { PortcullisDatabase, PortcullisTables } from "./schema.js";
import {
  COMMIT_MS,
  END_MS,
  GRACE_MS,
  IDLE_IN_TRANSACTION_MS,
  type OpenedServer,
  type OpenServerSettings,
  type PoolLimits,
  openServer,
} from "./server-options.js";

type PoolClass = new (config: PoolConfig) => Pool;

/**
 * Opens a PostgreSQL database with pg. pg parses the URL, so `sslmode`, `host` and so on work as they do in pg; the
 * environment variables of libpq (`PGPASSWORD`, …) supply what the URL omits.
 *
 * @throws SetupError when pg is not installed
 *
 * @example
 * ```ts
 * import { openPostgres } from "portcullis/sql";
 *
 * const { db, close } = await openPostgres("postgres://app@localhost/app", { poolSize: 10 });
 * await close();
 * ```
 */
export async function openPostgres(url: string, options: OpenServerSettings = {}): Promise<OpenedServer> {
  const { Pool } = (await loadDriver("pg", "postgres")) as unknown as { Pool: PoolClass };
  return openServer("postgres", options, (limits) => kyselyOf(url, Pool, limits));
}

function kyselyOf(url: string, Pool: PoolClass, limits: PoolLimits): PortcullisDatabase {
  const pool = async (): Promise<PostgresPool> => boundedPool(newPool(url, Pool, limits), limits);
  const db = new Kysely<PortcullisTables>({ dialect: new PostgresDialect({ pool }) });
  noteEngine(db, "postgres");
  return db;
}

function newPool(url: string, Pool: PoolClass, limits: PoolLimits): Pool {
  const pool = new Pool({
    connectionString: url,
    max: limits.size,
    connectionTimeoutMillis: limits.connectMs,
    idleTimeoutMillis: limits.idleMs,
    keepAlive: true,
    fallback_application_name: "portcullis",
    // Sent when connecting. PgBouncer needs them in its ignore_startup_parameters; README.md, PostgreSQL.
    statement_timeout: limits.statementMs,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
  });
  // The pool removes an idle connection that breaks. Without a listener its error would end the process.
  pool.on("error", () => undefined);
  return pool;
}

/**
 * Closes the pool. A server that does not answer does not notice closed connections either; they are then abandoned, so
 * that they do not keep the process alive.
 */
async function endPool(pool: Pool, open: ReadonlySet<PoolClient>): Promise<void> {
  const ending = pool.end();
  await withTimeout(ending, END_MS).catch(() => {
    for (const client of open) (client as { unref?(): void }).unref?.();
  });
}

function boundedPool(pool: Pool, limits: PoolLimits): PostgresPool {
  const open = new Set<PoolClient>();
  const places = new Places(limits.size, () => open.size >= limits.size);
  pool.on("connect", (client) => open.add(client));
  pool.on("remove", (client) => open.delete(client));
  return {
    options: {},
    connect: async () => {
      const client = await places.acquire(
        () => pool.connect(),
        limits.acquireMs,
        (late) => late.release(),
      );
      return new BoundedClient(client, limits.statementMs, () => places.give());
    },
    end: () => endPool(pool, open),
  };
}

/** A connection that is closed and not reused when a statement got no answer: the statement may still be running. */
class BoundedClient implements PostgresPoolClient {
  readonly #client: PoolClient;
  readonly #timeoutMs: number;
  readonly #released: () => void;
  #isBroken = false;

  constructor(client: PoolClient, timeoutMs: number, released: () => void) {
    this.#client = client;
    this.#released = released;
    this.#timeoutMs = timeoutMs + GRACE_MS;
    // While the connection is in use, the pool does not listen for errors; the query reports the same error.
    client.on("error", this.#markBroken);
  }

  readonly #markBroken = (): void => {
    this.#isBroken = true;
  };

  query: PostgresPoolClient["query"] = (async (text: string, parameters: readonly unknown[]) => {
    if (this.#isBroken) throw new Error("Connection terminated");
    try {
      const ms = text === "commit" ? COMMIT_MS : this.#timeoutMs;
      return await withTimeout(this.#client.query(text, [...parameters]), ms, noAnswer(ms));
    } catch (error) {
      // An error from the server has a severity; after any other error the state of the connection is unknown.
      if (!(error instanceof Error && "severity" in error) || text === "rollback") this.#isBroken = true;
      throw error;
    }
    // Kysely's type has an overload for cursors, which this library does not use.
  }) as unknown as PostgresPoolClient["query"];

  release(destroy = false): void {
    this.#client.removeListener("error", this.#markBroken);
    this.#client.release(destroy || this.#isBroken);
    this.#released();
  }
}
