import { LateAnswerError } from "./timeout.js";
import { someCause } from "./error-causes.js";

/** Error codes that mean: no connection to a server that is in service. */
const NO_CONNECTION: ReadonlySet<string> = new Set([
  // Node: no connection, no DNS result, no route, or no free file descriptor.
  "EAI_AGAIN",
  "EADDRNOTAVAIL",
  "ECONNABORTED",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "EMFILE",
  "ENETDOWN",
  "ENETUNREACH",
  "ENOTFOUND",
  "EPIPE",
  "ETIMEDOUT",
  // Redis: it is loading data after a restart, its cluster lacks some slots, or a replica has no master.
  "LOADING",
  "CLUSTERDOWN",
  "MASTERDOWN",
  // The server no longer accepts these credentials.
  "NOAUTH",
  "WRONGPASS",
  "28000",
  "28P01",
  "ER_ACCESS_DENIED_ERROR",
  // node-redis and ioredis, by the names of their error classes.
  "ClientClosedError",
  "ClientOfflineError",
  "ConnectionTimeoutError",
  "DisconnectsClientError",
  "SocketClosedUnexpectedlyError",
  "SocketTimeoutError",
  "SocketTimeoutDuringMaintenanceError",
  "RootNodesUnavailableError",
  "MaxCommandRedirectionsError",
  "ReconnectStrategyError",
  "AbortError",
  "MaxRetriesPerRequestError",
  "ClusterAllFailedError",
  "NR_CLOSED",
  // PostgreSQL (appendix A of its manual): shutting down, crashed, starting up.
  "57P01",
  "57P02",
  "57P03",
  // MySQL and MariaDB: the same states, by mysql2's names.
  "PROTOCOL_CONNECTION_LOST",
  "ER_SERVER_SHUTDOWN",
  "POOL_CLOSED",
]);

/**
 * Error codes that mean: this call took too long. The cause may be the server or this call alone (a lock, a large
 * statement), so one of them proves nothing about the server.
 */
const LATE: ReadonlySet<string> = new Set([
  // A store rolled back a write past its deadline (stores/health/write-call.ts).
  "PORTCULLIS_DEADLINE_PASSED",
  // One connection was lost at COMMIT, and the server answered on another (stores/sql/transaction.ts).
  "PORTCULLIS_COMMIT_UNDONE",
  // No answer on a connection, or no connection made, within its time (stores/sql/errors.ts).
  "PORTCULLIS_DATABASE_TIMEOUT",
  // node-redis: a command got no answer in time.
  "TimeoutError",
  "CommandTimeoutDuringMaintenanceError",
  // PostgreSQL: it ended a wait for a lock or a statement, or it has no free connection.
  "55P03",
  "57014",
  "53300",
  // MySQL and MariaDB: the same.
  "ER_LOCK_WAIT_TIMEOUT",
  "ER_QUERY_TIMEOUT",
  "ER_STATEMENT_TIMEOUT",
  "ER_QUERY_INTERRUPTED",
  "ER_CON_COUNT_ERROR",
  "ER_TOO_MANY_USER_CONNECTIONS",
  "ER_USER_LIMIT_REACHED",
]);

/** pg and ioredis report some lost connections only by the message. */
const WORDS =
  /^(?:Connection (?:terminated|is closed)|Client has encountered a connection error|timeout exceeded when trying to connect|Stream isn't writeable|Too many Cluster redirections|None of startup nodes is available|Cluster isn't ready)|closed state/;

/** Whether the error means that a call took too long. The cause may be that call alone. */
export function isLate(error: unknown): boolean {
  return someCause(error, (cause, code) => cause instanceof LateAnswerError || (code !== undefined && LATE.has(code)));
}

/**
 * Whether the error means that the server did not answer: it is unreachable, or it was late. Any other error is an
 * answer: the server rejects writes (`rejected-writes.ts`), or this one operation was wrong (`store-fault.ts`).
 */
export function isConnectionError(error: unknown): boolean {
  // SQLSTATE class 08: connection exceptions.
  return (
    isLate(error) ||
    someCause(
      error,
      (cause, code) =>
        (code !== undefined && (NO_CONNECTION.has(code) || /^08[0-9A-Z]{3}$/.test(code))) || WORDS.test(cause.message),
    )
  );
}
