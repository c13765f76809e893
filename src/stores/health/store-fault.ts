import { PortcullisError } from "../../core/portcullis-error.js";
import { someCause } from "./error-causes.js";
import { isLate, isConnectionError } from "./connection-errors.js";

/**
 * What a store's error says about the store.
 *
 * - `unreachable`: no connection to a server that is in service.
 * - `late`: this call took too long. Several in a row are an outage, one is not.
 * - `overload`: this process has more concurrent calls than its connection pool serves; the server is healthy.
 * - `input`: the store cannot keep a value of this call. Only the caller is at fault.
 * - `full`: the store has no room for what this call adds. All stored data still works.
 * - `share`: the owner of the record has used up their share of the store. Other owners are not affected.
 * - `record`: the record stored under this name cannot be read. Only that record is affected.
 * - `other`: any other error; the store answered with it.
 */
export type StoreFault = "unreachable" | "late" | "overload" | "full" | "share" | "input" | "record" | "other";

/** A stored record that this version cannot read: damaged, or written by a newer version. */
export class UnreadableRecordError extends PortcullisError {
  readonly code = "PORTCULLIS_UNREADABLE_RECORD";

  constructor(kind: string, options?: ErrorOptions) {
    super(`A stored ${kind} cannot be read: it is damaged or was written by a newer version.`, options);
    this.name = "UnreadableRecordError";
  }
}

/**
 * Codes in addition to class 22 of SQLSTATE (data exception), which PostgreSQL reports as `code` and mysql2 as
 * `sqlState`. PostgreSQL 54000: a value too long for an index. MySQL: data errors that it reports under a general
 * state. SQLite: SQLITE_TOOBIG and SQLITE_MISMATCH, which node:sqlite reports by number.
 */
const INPUT: ReadonlySet<string> = new Set([
  "PORTCULLIS_NOT_STORABLE",
  "54000",
  "ER_TRUNCATED_WRONG_VALUE_FOR_FIELD",
  "ER_INVALID_CHARACTER_STRING",
  "ER_NET_PACKET_TOO_LARGE",
  "ER_TOO_LONG_STRING",
  "SQLITE_TOOBIG",
  "SQLITE_MISMATCH",
]);
const SQLITE_INPUT: ReadonlySet<unknown> = new Set([18, 20]);
const DATA_EXCEPTION = /^22[0-9A-Z]{3}$/;

/** Redis reports this when a key has another type; within a script, in the middle of the message. */
const WRONG_TYPE = /(?:^|[ :-])WRONGTYPE /;

/** Classifies a store's error by the error and its causes. */
export function faultOf(error: unknown): StoreFault {
  if (someCause(error, (_cause, code) => code === "PORTCULLIS_POOL_BUSY")) return "overload";
  if (someCause(error, (_cause, code) => code === "PORTCULLIS_STORE_FULL")) return "full";
  if (someCause(error, (_cause, code) => code === "PORTCULLIS_SHARE_FULL")) return "share";
  if (someCause(error, isInput)) return "input";
  if (
    someCause(
      error,
      (cause, code) =>
        code === "PORTCULLIS_UNREADABLE_RECORD" ||
        code === "WRONGTYPE" ||
        code === "UNREADABLE" ||
        WRONG_TYPE.test(cause.message),
    )
  )
    return "record";
  if (isLate(error)) return "late";
  return isConnectionError(error) ? "unreachable" : "other";
}

function isInput(cause: Error, code: string | undefined): boolean {
  const { sqlState, errcode } = cause as { sqlState?: unknown; errcode?: unknown };
  if (typeof errcode === "number") return SQLITE_INPUT.has(errcode & 0xff);
  if (typeof sqlState === "string" && DATA_EXCEPTION.test(sqlState)) return true;
  return code !== undefined && (INPUT.has(code) || DATA_EXCEPTION.test(code));
}
