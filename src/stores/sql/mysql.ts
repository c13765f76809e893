import { Kysely, MysqlDialect, type MysqlPool, type MysqlPoolConnection } from "kysely";
import type { Pool, PoolConnection, PoolOptions } from "mysql2";
import { withTimeout } from "../health/timeout.js";
import { noteEngine } from "./engines.js";
import { noAnswer } from "./errors.js";
import { loadDriver } from "./load-package.js";
import { mysqlOptions } from "./mysql-url.js";
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

type CreatePool = (options: PoolOptions) => Pool;

/**
 * Opens a MySQL (8.0 and later) or MariaDB (10.6 and later) database with mysql2.
 *
 * @throws SettingsError when the URL has an option that is not known
 * @throws SetupError when mysql2 is not installed
 *
 * @example
 * ```ts
 * import { openMysql } from "portcullis/sql";
 *
 * const { db, close } = await openMysql("mysql://app@localhost/app", { poolSize: 10 });
 * await close();
 * ```
 */
export async function openMysql(url: string, options: OpenServerSettings = {}): Promise<OpenedServer> {
  const address = mysqlOptions(url);
  const { createPool } = (await loadDriver("mysql2", "mysql")) as unknown as { createPool: CreatePool };
  return openServer("mysql", options, (limits) => kyselyOf(address, createPool, limits));
}

function kyselyOf(address: PoolOptions, createPool: CreatePool, limits: PoolLimits): PortcullisDatabase {
  const pool = async (): Promise<MysqlPool> =>
    boundedPool(
      createPool({
        ...address,
        charset: "utf8mb4",
        connectionLimit: limits.size,
        maxIdle: limits.size,
        idleTimeout: limits.idleMs,
        waitForConnections: true,
        // `acquireMs` limits how long a caller waits; this limits how many wait at a time.
        queueLimit: 10_000,
        connectTimeout: limits.connectMs,
        enableKeepAlive: true,
        maxPreparedStatements: 200,
        resetOnRelease: false,
        supportBigNumbers: true,
      }),
      limits,
    );
  const db = new Kysely<PortcullisTables>({ dialect: new MysqlDialect({ pool }) });
  noteEngine(db, "mysql");
  return db;
}

/**
 * The first statements of each connection. Strict mode, so that nothing is truncated; READ COMMITTED, so that no gaps
 * are locked. MariaDB reads the first comment and MySQL the second, because each has its own name for the statement
 * time limit.
 */
function sessionStatements(limits: PoolLimits): readonly string[] {
  const seconds = limits.statementMs / 1000;
  return [
    "set session transaction isolation level read committed",
    `set session sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, innodb_lock_wait_timeout = ${Math.max(1, Math.round(seconds))}` +
      `/*M! , max_statement_time = ${seconds}, idle_transaction_timeout = ${IDLE_IN_TRANSACTION_MS / 1000} */` +
      `/*!50708 , max_execution_time = ${limits.statementMs} */`,
  ];
}

function boundedPool(pool: Pool, limits: PoolLimits): MysqlPool {
  const ready = new WeakSet<PoolConnection>();
  const open = new Set<PoolConnection>();
  const places = new Places(limits.size, () => open.size >= limits.size);
  pool.on("connection", (connection: PoolConnection) => {
    open.add(connection);
    connection.once("end", () => open.delete(connection));
    connection.once("error", () => open.delete(connection));
  });
  const acquire = async (): Promise<PoolConnection> => {
    const connection = await new Promise<PoolConnection>((resolve, reject) => {
      pool.getConnection((error, given) => {
        if (error) reject(error);
        else resolve(given);
      });
    });
    if (ready.has(connection)) return connection;
    try {
      for (const statement of sessionStatements(limits))
        await withTimeout(run(connection, statement, []), limits.connectMs, noAnswer(limits.connectMs));
    } catch (error) {
      connection.destroy();
      throw error;
    }
    ready.add(connection);
    return connection;
  };
  return {
    getConnection: (callback) => {
      places
        .acquire(acquire, limits.acquireMs, (late) => late.release())
        .then(
          (connection) =>
            callback(
              undefined,
              boundedConnection(connection, limits.statementMs + GRACE_MS, () => places.give()),
            ),
          // Kysely looks at the error first.
          (error: unknown) => callback(error, undefined as unknown as MysqlPoolConnection),
        );
    },
    end: (callback) => {
      const ending = new Promise<void>((resolve) => pool.end(() => resolve()));
      // A server that does not answer does not notice closed connections either; they are then abandoned.
      void withTimeout(ending, END_MS)
        .catch(() => open.forEach((connection) => connection.destroy()))
        .then(() => callback(undefined));
    },
  };
}

/** A connection that is closed and not reused when a statement got no answer: the statement may still be running. */
function boundedConnection(connection: PoolConnection, timeoutMs: number, released: () => void): MysqlPoolConnection {
  let isBroken = false;
  const answer = async (text: string, parameters: readonly unknown[]): Promise<unknown> => {
    if (isBroken) throw new Error("Connection terminated");
    try {
      const ms = text === "commit" ? COMMIT_MS : timeoutMs;
      return await withTimeout(run(connection, text, parameters), ms, noAnswer(ms));
    } catch (error) {
      // An error from the server has an SQL state; after any other error the state of the connection is unknown.
      if (!(error instanceof Error && "sqlState" in error) || text === "rollback") {
        isBroken = true;
        connection.destroy();
      }
      throw error;
    }
  };
  const bounded = {
    config: {},
    threadId: connection.threadId,
    connect: (callback?: (error: unknown) => void) => callback?.(undefined),
    destroy: () => connection.destroy(),
    release: () => {
      if (!isBroken) connection.release();
      released();
    },
    query: (text: string, parameters: readonly unknown[], callback: (error: unknown, result?: unknown) => void) => {
      answer(text, parameters).then(
        (result) => callback(undefined, result),
        (error: unknown) => callback(error),
      );
    },
  };
  // Kysely's `query` also returns a stream, which this library does not use.
  return bounded as unknown as MysqlPoolConnection;
}

/**
 * Runs a statement with parameters as a prepared statement: the values are sent apart from the text and are never
 * escaped into it.
 */
function run(connection: PoolConnection, text: string, parameters: readonly unknown[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const done = (error: unknown, result: unknown) => {
      if (error) reject(error);
      else resolve(result);
    };
    if (parameters.length === 0) connection.query(text, done);
    else connection.execute(text, parameters as (string | number | null)[], done);
  });
}
