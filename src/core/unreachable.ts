/**
 * How clients of Redis, PostgreSQL and MySQL say that no answer came in time or the server serves nobody now. Any other error
 * is an answer: the server declines to write (`declined.ts`), or this one operation was wrong.
 */
const CODES: ReadonlySet<string> = new Set([
  // Node: no connection, no name, no route, no descriptor left for one.
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
  // Redis: loading its data after a restart, a cluster without some of its slots, a replica without its master.
  "LOADING",
  "CLUSTERDOWN",
  "MASTERDOWN",
  // Nobody is let in with these credentials any more.
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
  "TimeoutError",
  "CommandTimeoutDuringMaintenanceError",
  "RootNodesUnavailableError",
  "MaxCommandRedirectionsError",
  "ReconnectStrategyError",
  "AbortError",
  "MaxRetriesPerRequestError",
  "ClusterAllFailedError",
  "NR_CLOSED",
  // PostgreSQL (appendix A of its manual): too many connections; a statement or a wait for a lock ended because it took too
  // long, which is the database's own word for being late; shutting down, crashed, starting up.
  "53300",
  "55P03",
  "57014",
  "57P01",
  "57P02",
  "57P03",
  // No free connection, or no answer on one, within its time (stores/sql/bounded.ts).
  "PORTCULLIS_DATABASE_TIMEOUT",
  // MySQL and MariaDB, by the names mysql2 gives their numbers: the same.
  "PROTOCOL_CONNECTION_LOST",
  "ER_LOCK_WAIT_TIMEOUT",
  "ER_QUERY_TIMEOUT",
  "ER_STATEMENT_TIMEOUT",
  "ER_QUERY_INTERRUPTED",
  "ER_CON_COUNT_ERROR",
  "ER_TOO_MANY_USER_CONNECTIONS",
  "ER_USER_LIMIT_REACHED",
  "ER_SERVER_SHUTDOWN",
  "POOL_CLOSED",
]);

/** pg and ioredis tell some losses by words alone. */
const WORDS = /^(?:Connection (?:terminated|is closed)|Client has encountered a connection error|timeout exceeded when trying to connect|Stream isn't writeable|Too many Cluster redirections|None of startup nodes is available|Cluster isn't ready)|closed state/;

/** Whether a store's error says that its server cannot be reached, as opposed to having answered with a refusal. */
export function isUnreachable(error: unknown): boolean {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 4; cause = cause.cause, depth += 1) {
    const code = "code" in cause && typeof cause.code === "string" ? cause.code : undefined;
    // SQLSTATE class 08: connection exceptions.
    if (code !== undefined && (CODES.has(code) || /^08[0-9A-Z]{3}$/.test(code))) return true;
    if (WORDS.test(cause.message)) return true;
  }
  return false;
}
