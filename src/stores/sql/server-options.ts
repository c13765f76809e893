import type { SqlEngine } from "./engines.js";
import type { PortcullisDatabase } from "./schema.js";

/** Settings of `openPostgres` and `openMysql`. */
export interface OpenServerSettings {
  /** Most connections this process opens (5). One more is opened for the schema and for cleaning up, when needed. */
  readonly poolSize?: number | undefined;
  /**
   * Milliseconds that getting a connection, and then each statement, may take (250). The server ends the statement; if
   * the server does not answer either, the connection is closed and replaced. Only COMMIT may take five seconds. The
   * time of a whole call is the layer's `storeTimeoutMs`: a transaction past it is rolled back.
   */
  readonly timeoutMs?: number | undefined;
}

/** An open database on a server. No connection is made until the first query. */
export interface OpenedServer {
  /** The kind of database. */
  readonly engine: SqlEngine;
  /** The Kysely instance. */
  readonly db: PortcullisDatabase;
  /** The same database with longer time limits, for work outside of requests: the schema, loading, cleaning up. */
  readonly slowDb: PortcullisDatabase;
  /** Closes the connections. */
  close(): Promise<void>;
}

export interface PoolLimits {
  readonly size: number;
  /** Milliseconds to wait for a free connection. */
  readonly acquireMs: number;
  /** Milliseconds a statement may take. */
  readonly statementMs: number;
  /** Milliseconds that opening a connection may take, whether or not a caller still waits for it. */
  readonly connectMs: number;
  /** Milliseconds after which an unused connection is closed. */
  readonly idleMs: number;
}

/** Opens both pools of a server: one for requests, one for the schema and for cleaning up. */
export function openServer(
  engine: OpenedServer["engine"],
  options: OpenServerSettings,
  open: (limits: PoolLimits) => PortcullisDatabase,
): OpenedServer {
  const db = open(requestLimits(options));
  const slowDb = open(SLOW_LIMITS);
  return {
    engine,
    db,
    slowDb,
    close: async () => {
      await Promise.all([db.destroy(), slowDb.destroy()]);
    },
  };
}

const SLOW_MS = 30_000;

/**
 * A new connection over TLS takes several round trips. If its caller gives up, the connection is ready for the next
 * one.
 */
const CONNECT_MS = 2000;

function requestLimits({ poolSize = 5, timeoutMs = 250 }: OpenServerSettings): PoolLimits {
  return {
    size: poolSize,
    acquireMs: timeoutMs,
    statementMs: timeoutMs,
    connectMs: Math.max(CONNECT_MS, timeoutMs),
    idleMs: 30_000,
  };
}

const SLOW_LIMITS: PoolLimits = {
  size: 1,
  acquireMs: SLOW_MS,
  statementMs: SLOW_MS,
  connectMs: 5000,
  idleMs: 1000,
};

/**
 * Milliseconds that a transaction may wait for its client's next statement. A process that is stopped in the middle of
 * a transaction must not block others from the rows it has locked.
 */
export const IDLE_IN_TRANSACTION_MS = 5000;

/** The server ends a late statement; this many milliseconds later the connection is closed. */
export const GRACE_MS = 50;

/** Milliseconds that COMMIT may take: its caller waits for the outcome, since a commit cannot be undone. */
export const COMMIT_MS = 5000;

/** Milliseconds that closing may take before connections to a server that does not answer are abandoned. */
export const END_MS = 1000;
