/**
 * What an error means, whichever driver or store it comes from. The order is that of precedence when an error and its
 * causes mean different things.
 *
 * - `overload`: this process has more concurrent calls than its connection pool serves; the server is healthy.
 * - `store-full`: the store has no room for what this call adds.
 * - `share-full`: the owner of the record has used up their share of the store.
 * - `invalid-data`: the store cannot keep a value of this call.
 * - `unreadable-record`: the record stored under this name cannot be read.
 * - `late`: this call took too long. The cause may be that call alone (a lock, a large statement).
 * - `server-full`: the server accepts no more connections now.
 * - `unreachable`: no connection to a server that is in service.
 * - `credentials-rejected`: the server does not accept the user or the password.
 * - `connection-lost`: the connection is lost, because of the network or because the server goes down. A commit in
 *   progress may or may not have been done.
 * - `read-only`, `out-of-memory`, `disk-full`, `not-saving`, `too-few-replicas`, `no-rights`: the server answers and
 *   rejects writes.
 * - `certificate-rejected`: the certificate of the server is not trusted.
 * - `connection-ended`: a healthy server ended this connection, for example because it was idle.
 * - `conflict`: the server rolled the transaction back because of another one (deadlock, serialisation).
 * - `busy`: another process has locked SQLite's file; nothing was done.
 * - `operation`: any other error; the store answered with it.
 */
export const DRIVER_ERROR_CLASSES = [
  "overload",
  "store-full",
  "share-full",
  "invalid-data",
  "unreadable-record",
  "late",
  "server-full",
  "unreachable",
  "credentials-rejected",
  "connection-lost",
  "read-only",
  "out-of-memory",
  "disk-full",
  "not-saving",
  "too-few-replicas",
  "no-rights",
  "certificate-rejected",
  "connection-ended",
  "conflict",
  "busy",
  "operation",
] as const;

/** See `DRIVER_ERROR_CLASSES`. */
export type DriverErrorClass = (typeof DRIVER_ERROR_CLASSES)[number];

/** The codes of one driver, by what they mean. */
type Codes = Readonly<Partial<Record<DriverErrorClass, readonly string[]>>>;

/** Node: the names of system errors. A system error on a connection in use means that the connection was lost. */
const NODE: Codes = {
  "connection-lost": ["ECONNRESET", "EPIPE"],
  // No connection, no DNS result, no route, or no free file descriptor.
  unreachable: [
    "EAI_AGAIN",
    "EADDRNOTAVAIL",
    "ECONNABORTED",
    "ECONNREFUSED",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "EMFILE",
    "ENETDOWN",
    "ENETUNREACH",
    "ENOTFOUND",
    "ETIMEDOUT",
  ],
};

/**
 * Redis: the first word of its reply, or the name of the error class of node-redis and ioredis (`RedisError`).
 * `UNREADABLE` comes from a script of this library.
 */
const REDIS: Codes = {
  unreachable: [
    // Loading data after a restart, some slots without a server, a replica without a master.
    "LOADING",
    "CLUSTERDOWN",
    "MASTERDOWN",
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
  ],
  "credentials-rejected": ["NOAUTH", "WRONGPASS"],
  late: ["TimeoutError", "CommandTimeoutDuringMaintenanceError"],
  "read-only": ["READONLY"],
  "out-of-memory": ["OOM"],
  "not-saving": ["MISCONF"],
  "too-few-replicas": ["NOREPLICAS"],
  "no-rights": ["NOPERM"],
  "unreadable-record": ["WRONGTYPE", "UNREADABLE"],
};

/** PostgreSQL: SQLSTATE (appendix A of its manual). Classes 08 and 22 are below. */
const POSTGRES: Codes = {
  // Shutting down, crashed, starting up.
  "connection-lost": ["57P01", "57P02", "57P03"],
  "connection-ended": ["25P03"],
  "credentials-rejected": ["28000", "28P01"],
  // It ended a wait for a lock, or a statement.
  late: ["55P03", "57014"],
  "server-full": ["53300"],
  "read-only": ["25006"],
  "out-of-memory": ["53200"],
  "disk-full": ["53100"],
  "no-rights": ["42501"],
  conflict: ["40001", "40P01"],
  // A value too long for an index.
  "invalid-data": ["54000"],
};

/** MySQL and MariaDB: the names of mysql2, and the numbers of MariaDB to which mysql2 gives no name. */
const MYSQL: Codes = {
  "connection-lost": ["PROTOCOL_CONNECTION_LOST", "ER_SERVER_SHUTDOWN"],
  // 1927: the connection was killed.
  "connection-ended": ["ER_CLIENT_INTERACTION_TIMEOUT", "1927"],
  "credentials-rejected": ["ER_ACCESS_DENIED_ERROR"],
  // 1969: the statement took longer than max_statement_time.
  late: ["ER_LOCK_WAIT_TIMEOUT", "ER_QUERY_TIMEOUT", "ER_QUERY_INTERRUPTED", "1969"],
  "server-full": ["ER_CON_COUNT_ERROR", "ER_TOO_MANY_USER_CONNECTIONS", "ER_USER_LIMIT_REACHED"],
  "read-only": [
    "ER_OPTION_PREVENTS_STATEMENT",
    "ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION",
    "ER_READ_ONLY_MODE",
    "ER_INNODB_READ_ONLY",
    "ER_OPEN_AS_READONLY",
  ],
  "out-of-memory": ["ER_OUTOFMEMORY", "ER_OUT_OF_RESOURCES"],
  "disk-full": ["ER_DISK_FULL", "ER_RECORD_FILE_FULL"],
  "no-rights": ["ER_TABLEACCESS_DENIED_ERROR", "ER_DBACCESS_DENIED_ERROR", "ER_SPECIFIC_ACCESS_DENIED_ERROR"],
  conflict: ["ER_LOCK_DEADLOCK", "ER_CHECKREAD"],
  // Data errors that are not in class 22 of SQLSTATE.
  "invalid-data": [
    "ER_TRUNCATED_WRONG_VALUE_FOR_FIELD",
    "ER_INVALID_CHARACTER_STRING",
    "ER_NET_PACKET_TOO_LARGE",
    "ER_TOO_LONG_STRING",
  ],
};

/** This library: the codes of its own errors. */
const OWN: Codes = {
  overload: ["PORTCULLIS_POOL_BUSY"],
  "store-full": ["PORTCULLIS_STORE_FULL"],
  "share-full": ["PORTCULLIS_SHARE_FULL"],
  "invalid-data": ["PORTCULLIS_NOT_STORABLE"],
  "unreadable-record": ["PORTCULLIS_UNREADABLE_RECORD"],
  late: [
    // A store rolled back a write past its deadline.
    "PORTCULLIS_DEADLINE_PASSED",
    // One connection was lost at COMMIT, and the server answered on another.
    "PORTCULLIS_COMMIT_UNDONE",
    // No answer on a connection, or no connection made, within its time.
    "PORTCULLIS_DATABASE_TIMEOUT",
  ],
};

/** Every code, once, by driver. */
export const CODES_BY_DRIVER = { NODE, REDIS, POSTGRES, MYSQL, OWN };

/** SQLite: the primary result code, by number (node:sqlite) and by name (the packages). */
export const SQLITE_CODES: readonly (readonly [number, string, DriverErrorClass])[] = [
  [5, "SQLITE_BUSY", "busy"],
  [8, "SQLITE_READONLY", "read-only"],
  [13, "SQLITE_FULL", "disk-full"],
  [18, "SQLITE_TOOBIG", "invalid-data"],
  [20, "SQLITE_MISMATCH", "invalid-data"],
];

/** SQLSTATE, class 08. */
export const CONNECTION_EXCEPTION = /^08[0-9A-Z]{3}$/;

/** SQLSTATE, class 22. PostgreSQL reports it as the code, mysql2 beside its own code. */
export const DATA_EXCEPTION = /^22[0-9A-Z]{3}$/;

/** Names that OpenSSL and Node give to a rejected certificate (Node's manual, "X509 certificate error codes"). */
export const CERTIFICATE =
  /^(?:ERR_TLS_CERT_|CERT_|UNABLE_TO_|HOSTNAME_MISMATCH|(?:DEPTH_ZERO_)?SELF_SIGNED_CERT|INVALID_(?:CA|PURPOSE))/;

/**
 * Codes of an error whose message may say more: none, the code of any error of Redis, and the name of a class. The
 * message of any other error is not read, since a database quotes values of the statement in it.
 */
export const CODE_WITHOUT_MEANING = /^(?:|ERR|ErrorReply|(?:[A-Z][A-Za-z]*)?Error)$/;

/** The whole messages, or their fixed beginnings, of errors that a driver reports without a code. */
export const MESSAGES: readonly (readonly [RegExp, DriverErrorClass])[] = [
  // pg.
  [/^Connection terminated(?: unexpectedly| due to connection timeout)?$/, "connection-lost"],
  [/^Client has encountered a connection error and is not queryable$/, "connection-lost"],
  [/^timeout exceeded when trying to connect$/, "unreachable"],
  // mysql2.
  [/^Can't (?:add new command when connection is|write) in closed state$/, "connection-lost"],
  // ioredis.
  [/^Connection is closed\.$/, "unreachable"],
  [/^(?:Stream isn't writeable|Cluster isn't ready) and enableOfflineQueue options is false$/, "unreachable"],
  [/^None of startup nodes is available$/, "unreachable"],
  [/^Too many Cluster redirections\. Last error: /, "unreachable"],
  // Redis, of a client that another library wraps.
  [/^WRONGTYPE Operation against a key holding the wrong kind of value/, "unreadable-record"],
  // Redis before version 7.2, of a command within a script.
  [
    /^(?:ERR )?The user executing the script can't (?:run this command or subcommand|access at least one of the )/,
    "no-rights",
  ],
];

/** What Redis before version 7 writes before the error of a command within a script. */
export const WITHIN_SCRIPT =
  /^(?=ERR Error running script|@user_script)(?:ERR Error running script(?: \(call to f_[0-9a-f]+\))?: )?(?:@user_script: ?\d+: )*-?/;
