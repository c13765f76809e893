import fc from "fast-check";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { getSystemErrorMap } from "node:util";
import { describe, expect, it } from "vitest";
import {
  CODES_BY_DRIVER,
  DRIVER_ERROR_CLASSES,
  type DriverErrorClass,
  SQLITE_CODES,
} from "../../../src/stores/health/driver-error-codes.js";
import { classifyDriverError } from "../../../src/stores/health/driver-errors.js";
import { writeRejectionReason } from "../../../src/stores/health/store-fault.js";
import { LateAnswerError } from "../../../src/stores/health/timeout.js";
import { RedisError } from "../../../src/stores/redis/connection.js";
import { runs } from "../../property/seed.js";

const error = (facts: object, message = "x"): Error => Object.assign(new Error(message), facts);
const coded = (code: string): Error => error({ code });
/** An error as mysql2 makes it. */
const mysqlError = (errno: number, code: string | undefined, sqlState = "HY000"): Error =>
  error({ code, errno, sqlState });
const sqliteError = (errcode: number): Error => error({ code: "ERR_SQLITE_ERROR", errcode });
/** An error as node-redis and ioredis make it. */
const reply = (message: string): Error => new RedisError(new Error(message));
const SCRIPT = "ERR Error running script (call to f_1): @user_script:7: @user_script: 7: ";

/** A class, errors of that class, and similar errors that are only this operation's. */
const TABLE: Readonly<Record<string, readonly (readonly [DriverErrorClass, readonly Error[], readonly Error[]])[]>> = {
  Node: [
    [
      "unreachable",
      "EAI_AGAIN EADDRNOTAVAIL ECONNABORTED ECONNREFUSED EHOSTDOWN EHOSTUNREACH EMFILE ENETDOWN ENETUNREACH ENOTFOUND ETIMEDOUT"
        .split(" ")
        .map(coded),
      ["EACCES", "EADDRINUSE", "EINVAL", "ENOENT", "EISCONN"].map(coded),
    ],
    ["connection-lost", ["ECONNRESET", "EPIPE"].map(coded), [coded("EPROTO")]],
    [
      "certificate-rejected",
      [
        "CERT_HAS_EXPIRED",
        "DEPTH_ZERO_SELF_SIGNED_CERT",
        "SELF_SIGNED_CERT_IN_CHAIN",
        "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
        "ERR_TLS_CERT_ALTNAME_INVALID",
        "HOSTNAME_MISMATCH",
        "INVALID_CA",
        "INVALID_PURPOSE",
      ].map(coded),
      ["ERR_TLS_INVALID_CONTEXT", "ERR_SSL_WRONG_VERSION_NUMBER", "INVALID_ARGUMENT"].map(coded),
    ],
  ],
  Redis: [
    [
      "unreachable",
      [
        ...["LOADING Redis is loading the dataset in memory", "CLUSTERDOWN Hash slot not served"].map(reply),
        reply("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
        reply("Connection is closed."),
        reply("Stream isn't writeable and enableOfflineQueue options is false"),
        reply("Too many Cluster redirections. Last error: Error: MOVED"),
        reply("None of startup nodes is available"),
        reply("Cluster isn't ready and enableOfflineQueue options is false"),
        ...(CODES_BY_DRIVER.REDIS.unreachable ?? []).filter((name) => name.endsWith("Error")).map(coded),
      ],
      [reply("ERR unknown command"), reply("NOSCRIPT No matching script"), coded("WatchError"), coded("BlobError")],
    ],
    [
      "credentials-rejected",
      [reply("NOAUTH Authentication required."), reply("WRONGPASS invalid username-password pair")],
      [reply("NOPROTO unsupported protocol version")],
    ],
    ["late", [coded("TimeoutError"), coded("CommandTimeoutDuringMaintenanceError")], [coded("ErrorReply")]],
    [
      "read-only",
      [
        reply("READONLY You can't write against a read only replica."),
        reply(`${SCRIPT}-READONLY You can't write against a read only replica.`),
      ],
      [reply("ERR a text with READONLY in it"), new Error("READONLY in a name")],
    ],
    [
      "out-of-memory",
      [
        reply("OOM command not allowed when used memory > 'maxmemory'."),
        reply(`${SCRIPT}-OOM command not allowed when used memory > 'maxmemory'.`),
      ],
      [reply(`${SCRIPT}attempt to index a nil value`), new Error("OOM in a name")],
    ],
    [
      "not-saving",
      [
        reply("MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk."),
        reply(`${SCRIPT}-MISCONF Redis is configured to save RDB snapshots`),
      ],
      [reply("BUSY Redis is busy running a script.")],
    ],
    [
      "too-few-replicas",
      [reply("NOREPLICAS Not enough good replicas to write."), reply(`${SCRIPT}NOREPLICAS Not enough good replicas`)],
      [reply("EXECABORT Transaction discarded because of previous errors.")],
    ],
    [
      "no-rights",
      [
        reply("NOPERM this user has no permissions to run the 'get' command"),
        reply("ERR The user executing the script can't run this command or subcommand"),
      ],
      [reply("ERR The user does not exist")],
    ],
    [
      "unreadable-record",
      [
        reply("WRONGTYPE Operation against a key holding the wrong kind of value"),
        new Error("WRONGTYPE Operation against a key holding the wrong kind of value"),
        reply("ERR Error running script: -WRONGTYPE Operation against a key"),
        reply("UNREADABLE a window that holds something else"),
      ],
      [reply("ERR value is not an integer or out of range"), new Error("a WRONGTYPEFACE")],
    ],
  ],
  PostgreSQL: [
    [
      "connection-lost",
      [
        ...["08000", "08001", "08006", "08P01", "57P01", "57P02", "57P03"].map(coded),
        new Error("Connection terminated"),
        new Error("Connection terminated unexpectedly"),
        new Error("Client has encountered a connection error and is not queryable"),
      ],
      [coded("0800"), coded("57P04"), new Error("terminating connection")],
    ],
    ["connection-ended", [coded("25P03")], [coded("25P02")]],
    ["unreachable", [new Error("timeout exceeded when trying to connect")], [new Error("timeout expired in a name")]],
    ["credentials-rejected", ["28000", "28P01"].map(coded), [coded("0LP01")]],
    ["late", ["55P03", "57014"].map(coded), [coded("55000")]],
    ["server-full", [coded("53300")], [coded("53000")]],
    ["read-only", [coded("25006")], [coded("25001")]],
    ["out-of-memory", [coded("53200")], [coded("53400")]],
    ["disk-full", [coded("53100")], [coded("58030")]],
    ["no-rights", [coded("42501")], [coded("42P01")]],
    ["conflict", ["40001", "40P01"].map(coded), [coded("40003"), coded("23505")]],
    ["invalid-data", ["22001", "22003", "22021", "22P02", "54000"].map(coded), [coded("2200"), coded("54001")]],
  ],
  "MySQL and MariaDB": [
    [
      "connection-lost",
      [
        coded("PROTOCOL_CONNECTION_LOST"),
        mysqlError(1053, "ER_SERVER_SHUTDOWN", "08S01"),
        new Error("Can't add new command when connection is in closed state"),
        new Error("Can't write in closed state"),
      ],
      [coded("PROTOCOL_PACKETS_OUT_OF_ORDER")],
    ],
    [
      "connection-ended",
      [mysqlError(4031, "ER_CLIENT_INTERACTION_TIMEOUT"), mysqlError(1927, undefined, "70100")],
      [mysqlError(1928, undefined), error({ errno: 1927 })],
    ],
    [
      "credentials-rejected",
      [mysqlError(1045, "ER_ACCESS_DENIED_ERROR", "28000")],
      [mysqlError(1130, "ER_HOST_NOT_PRIVILEGED")],
    ],
    [
      "late",
      [
        mysqlError(1205, "ER_LOCK_WAIT_TIMEOUT"),
        mysqlError(3024, "ER_QUERY_TIMEOUT"),
        mysqlError(1317, "ER_QUERY_INTERRUPTED", "70100"),
        mysqlError(1969, undefined, "70100"),
      ],
      [mysqlError(1968, undefined), error({ errno: 1969 })],
    ],
    [
      "server-full",
      [
        mysqlError(1040, "ER_CON_COUNT_ERROR", "08004"),
        mysqlError(1203, "ER_TOO_MANY_USER_CONNECTIONS", "42000"),
        mysqlError(1226, "ER_USER_LIMIT_REACHED", "42000"),
      ],
      [mysqlError(1129, "ER_HOST_IS_BLOCKED")],
    ],
    [
      "read-only",
      [
        mysqlError(1290, "ER_OPTION_PREVENTS_STATEMENT"),
        mysqlError(1792, "ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION", "25006"),
        mysqlError(1836, "ER_READ_ONLY_MODE"),
        mysqlError(1874, "ER_INNODB_READ_ONLY"),
        mysqlError(1036, "ER_OPEN_AS_READONLY"),
      ],
      [mysqlError(1054, "ER_BAD_FIELD_ERROR", "42S22")],
    ],
    [
      "out-of-memory",
      [mysqlError(1037, "ER_OUTOFMEMORY", "HY001"), mysqlError(1041, "ER_OUT_OF_RESOURCES")],
      [mysqlError(1038, "ER_OUT_OF_SORTMEMORY", "HY001")],
    ],
    [
      "disk-full",
      [mysqlError(1021, "ER_DISK_FULL"), mysqlError(1114, "ER_RECORD_FILE_FULL")],
      [mysqlError(1030, "ER_GET_ERRNO")],
    ],
    [
      "no-rights",
      [
        mysqlError(1142, "ER_TABLEACCESS_DENIED_ERROR", "42000"),
        mysqlError(1044, "ER_DBACCESS_DENIED_ERROR", "42000"),
        mysqlError(1227, "ER_SPECIFIC_ACCESS_DENIED_ERROR", "42000"),
      ],
      [mysqlError(1146, "ER_NO_SUCH_TABLE", "42S02")],
    ],
    [
      "conflict",
      [mysqlError(1213, "ER_LOCK_DEADLOCK", "40001"), mysqlError(1020, "ER_CHECKREAD")],
      [mysqlError(1062, "ER_DUP_ENTRY", "23000")],
    ],
    [
      "invalid-data",
      [
        mysqlError(1406, "ER_DATA_TOO_LONG", "22001"),
        mysqlError(1366, "ER_TRUNCATED_WRONG_VALUE_FOR_FIELD"),
        mysqlError(1300, "ER_INVALID_CHARACTER_STRING"),
        mysqlError(1153, "ER_NET_PACKET_TOO_LARGE", "08S01"),
        mysqlError(1162, "ER_TOO_LONG_STRING", "42000"),
      ],
      [mysqlError(1064, "ER_PARSE_ERROR", "42000")],
    ],
  ],
  SQLite: [
    ["busy", [coded("SQLITE_BUSY"), coded("SQLITE_BUSY_SNAPSHOT"), sqliteError(5 | (2 << 8))], [sqliteError(6)]],
    ["read-only", [coded("SQLITE_READONLY_DBMOVED"), sqliteError(8 | (4 << 8))], [sqliteError(14)]],
    ["disk-full", [coded("SQLITE_FULL"), sqliteError(13)], [sqliteError(10)]],
    ["invalid-data", [coded("SQLITE_TOOBIG"), coded("SQLITE_MISMATCH"), sqliteError(18), sqliteError(20)], []],
    ["operation", [coded("SQLITE_CONSTRAINT_UNIQUE"), sqliteError(19), sqliteError(1)], []],
  ],
  "this library": [
    ["late", [new LateAnswerError(5), coded("PORTCULLIS_DEADLINE_PASSED"), coded("PORTCULLIS_DATABASE_TIMEOUT")], []],
    ["late", [coded("PORTCULLIS_COMMIT_UNDONE")], [coded("PORTCULLIS_COMMIT_LOST")]],
    ["overload", [coded("PORTCULLIS_POOL_BUSY")], [coded("PORTCULLIS_POOL")]],
    ["store-full", [coded("PORTCULLIS_STORE_FULL")], [coded("PORTCULLIS_SESSION_STORE_FULL")]],
    ["share-full", [coded("PORTCULLIS_SHARE_FULL")], []],
    ["invalid-data", [coded("PORTCULLIS_NOT_STORABLE")], []],
    ["unreadable-record", [coded("PORTCULLIS_UNREADABLE_RECORD")], []],
  ],
};

const described = (one: Error): string => {
  const { code, errno, errcode } = one as { code?: unknown; errno?: unknown; errcode?: unknown };
  return JSON.stringify({ code, errno, errcode, ...(one.message === "x" ? {} : { message: one.message }) });
};
const ROWS = Object.entries(TABLE).flatMap(([driver, rows]) =>
  rows.flatMap(([meaning, errors, others]) => [
    ...errors.map((one) => [driver, meaning, described(one), one] as const),
    ...others.map((one) => [driver, "operation" as const, described(one), one] as const),
  ]),
);

describe("classifyDriverError", () => {
  it.each(ROWS)("%s, %s: %s", (_driver, meaning, _error, one) => {
    expect(classifyDriverError(one)).toBe(meaning);
    expect(classifyDriverError(new Error("wrapped", { cause: one }))).toBe(meaning);
  });

  it("is tested here with every code that it knows", () => {
    const tested = new Set(
      ROWS.flatMap(([, , , one]) => {
        const { code, errno, errcode } = one as { code?: unknown; errno?: unknown; errcode?: unknown };
        return [code, String(errno), errcode];
      }),
    );
    const codes = Object.values(CODES_BY_DRIVER).flatMap((byClass) => Object.values(byClass).flat());
    expect(codes.filter((code) => !tested.has(code))).toEqual([]);
  });

  it("knows each code once", () => {
    const all = [
      ...Object.values(CODES_BY_DRIVER).flatMap((codes) => Object.values(codes).flat()),
      ...SQLITE_CODES.flatMap(([number, name]) => [String(number), name]),
    ];
    expect(all.filter((code, index) => all.indexOf(code) !== index)).toEqual([]);
  });

  it("reads causes, the worst for this call first, and ends in a cycle", () => {
    const both = (code: string, cause: string): Error => error({ code, cause: coded(cause) });
    // One connection was lost at COMMIT, and the server answered on another.
    expect(classifyDriverError(both("PORTCULLIS_COMMIT_UNDONE", "ECONNRESET"))).toBe("late");
    expect(classifyDriverError(both("ECONNRESET", "PORTCULLIS_COMMIT_UNDONE"))).toBe("late");
    expect(classifyDriverError(both("PORTCULLIS_COMMIT_LOST", "57P01"))).toBe("connection-lost");
    const loop = new Error("loop");
    loop.cause = loop;
    const deep = [1, 2, 3, 4].reduce((cause) => new Error("wrapped", { cause }), coded("ECONNRESET"));
    for (const other of [loop, deep, undefined, null, "OOM", { code: "OOM" }, error({ code: 42501 })])
      expect(classifyDriverError(other)).toBe("operation");
  });
});

/** Errors as servers and stores make them when a value of the caller stands in the message. */
const QUOTING: readonly ((value: string) => Error)[] = [
  (value) => error({ code: "ER_DUP_ENTRY", errno: 1062, sqlState: "23000" }, `Duplicate entry '${value}' for key 'x'`),
  (value) => error({ code: undefined, errno: 4025, sqlState: "23000" }, `CONSTRAINT \`${value}\` failed`),
  (value) => error({ code: "ER_DATA_TOO_LONG", errno: 1406, sqlState: "22001" }, `Data too long: '${value}'`),
  (value) => error({ code: "ER_PARSE_ERROR", errno: 1064, sqlState: "42000" }, `${value}' at line 1`),
  (value) => error({ code: "23505" }, `duplicate key value: (id)=(${value})`),
  (value) => error({ code: "22P02" }, `invalid input syntax for type bigint: "${value}"`),
  (value) => error({ code: "SQLITE_CONSTRAINT_UNIQUE" }, `${value}`),
  (value) => error({ code: "ERR_SQLITE_ERROR", errcode: 1 }, `near "${value}": syntax error`),
  (value) => error({ code: "ENOENT" }, `ENOENT: no such file or directory, open '${value}.json'`),
  (value) => reply(`ERR unknown command 'EVALSHA', with args beginning with: '1' '${value}' `),
  (value) => reply(`ERR Error running script (call to f_1a): @user_script:7: user_script:7: bad argument ${value}`),
  (value) => reply(`@user_script: 7: ERR value is not an integer: ${value}`),
  (value) => reply(`EXECABORT ${value}`),
  (value) => new SyntaxError(`Unexpected token 'x', "${value}" is not valid JSON`),
  (value) => new Error(`session ${value} was not saved`),
];

describe("a value of the caller in the message", () => {
  /** Everything that means something anywhere in a message, and what might end a quotation. */
  const meaningful = [
    ...ROWS.map(([, , , { message }]) => message).filter((message) => message !== "x"),
    ...Object.values(CODES_BY_DRIVER).flatMap((codes) => Object.values(codes).flat()),
    ...["closed state", "The user executing the script can't ", "@user_script", "@user_script: 7: -OOM "],
    ...["Error running script", "WRONGTYPE ", ": -", " -", "'", '"', "\n", "\0"],
  ];
  const value = fc
    .array(fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...meaningful) }, fc.string({ maxLength: 10 })), {
      maxLength: 4,
    })
    .chain((parts) => fc.constantFrom("", " ", ": ", "\n").map((between) => parts.join(between)));

  it("never changes the class of an error: property", () => {
    fc.assert(
      fc.property(fc.constantFrom(...QUOTING), value, (quote, text) => {
        expect(classifyDriverError(quote(text))).toBe(classifyDriverError(quote("x")));
      }),
      { numRuns: runs(3000) },
    );
  });

  it("never changes the class after the beginning of a message that means something: property", () => {
    const fixed = ROWS.filter(
      ([, meaning, , { message }]) => meaning !== "operation" && /^(?:ERR|[A-Z]{3,} |Too many)/.test(message),
    );
    expect(fixed.length).toBeGreaterThan(10);
    fc.assert(
      fc.property(fc.constantFrom(...fixed), value, ([, meaning, , { message }], text) => {
        expect(classifyDriverError(reply(`${message} ${text}`))).toBe(meaning);
      }),
      { numRuns: runs(1000) },
    );
  });

  it.each(["closed state", "Connection terminated", "x: -WRONGTYPE y", "@user_script: 7: -OOM x"])(
    "is data in a duplicate entry: %s",
    (text) => {
      for (const quote of QUOTING) expect(["operation", "invalid-data"]).toContain(classifyDriverError(quote(text)));
    },
  );
});

describe("writeRejectionReason", () => {
  it("is the class of an error whose cause is the state of the server, and of no other", () => {
    const reasons = ["read-only", "out-of-memory", "disk-full", "not-saving", "too-few-replicas", "no-rights"];
    for (const [, meaning, , one] of ROWS)
      expect(writeRejectionReason(one)).toBe(reasons.includes(meaning) ? meaning : undefined);
    expect(reasons.filter((reason) => !DRIVER_ERROR_CLASSES.some((known) => known === reason))).toEqual([]);
  });
});

describe("the names in the table", () => {
  const require = createRequire(import.meta.url);
  const namesOf = (codes: Readonly<Partial<Record<DriverErrorClass, readonly string[]>>>): readonly string[] =>
    Object.values(codes).flat();

  it("are those of Node", () => {
    // Node takes ENOTFOUND from its look-up of names, not from the system.
    const names = new Set(["ENOTFOUND", ...[...getSystemErrorMap().values()].map(([name]) => name)]);
    expect(namesOf(CODES_BY_DRIVER.NODE).filter((name) => !names.has(name))).toEqual([]);
  });

  it("are those of mysql2, which names no number that stands here", () => {
    const folder = dirname(require.resolve("mysql2"));
    const names = require(join(folder, "lib", "constants", "errors.js")) as Record<string, unknown>;
    const errors = namesOf(CODES_BY_DRIVER.MYSQL);
    const numbers = errors.filter((name) => /^\d+$/.test(name));
    const unknown = errors.filter((name) => name.startsWith("ER_") && !(name in names));
    expect([unknown, numbers.filter((number) => number in names)]).toEqual([[], []]);
    expect(errors.filter((name) => !name.startsWith("ER_"))).toEqual(["PROTOCOL_CONNECTION_LOST", ...numbers]);
  });

  it("are those of node-redis and ioredis", () => {
    const nodeRedis = require("redis") as object;
    const ofIoRedis = (name: string): boolean =>
      existsSync(join(dirname(require.resolve("ioredis")), "errors", `${name}.js`));
    const classes = namesOf(CODES_BY_DRIVER.REDIS).filter((name) => /[a-z]/.test(name));
    expect(classes.filter((name) => !(name in nodeRedis) && !ofIoRedis(name))).toEqual([]);
  });
});
