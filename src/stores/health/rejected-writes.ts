/** Why a server that answers rejects all writes. */
export type WriteRejectionReason =
  "read-only" | "out-of-memory" | "disk-full" | "not-saving" | "too-few-replicas" | "no-rights";

/**
 * Redis by the first word of its reply, PostgreSQL by SQLSTATE (appendix A of its manual), MySQL and MariaDB by
 * mysql2's names.
 */
const REASONS: ReadonlyMap<string, WriteRejectionReason> = new Map([
  ["READONLY", "read-only"],
  ["25006", "read-only"],
  ["ER_OPTION_PREVENTS_STATEMENT", "read-only"],
  ["ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION", "read-only"],
  ["ER_READ_ONLY_MODE", "read-only"],
  ["ER_INNODB_READ_ONLY", "read-only"],
  ["ER_OPEN_AS_READONLY", "read-only"],
  ["SQLITE_READONLY", "read-only"],
  ["OOM", "out-of-memory"],
  ["53200", "out-of-memory"],
  ["ER_OUTOFMEMORY", "out-of-memory"],
  ["ER_OUT_OF_RESOURCES", "out-of-memory"],
  ["53100", "disk-full"],
  ["ER_DISK_FULL", "disk-full"],
  ["ER_RECORD_FILE_FULL", "disk-full"],
  ["SQLITE_FULL", "disk-full"],
  ["MISCONF", "not-saving"],
  ["NOREPLICAS", "too-few-replicas"],
  ["NOPERM", "no-rights"],
  ["42501", "no-rights"],
  ["ER_TABLEACCESS_DENIED_ERROR", "no-rights"],
  ["ER_DBACCESS_DENIED_ERROR", "no-rights"],
]);

/** node:sqlite reports numbers; the lowest byte is SQLite's primary result code. */
const SQLITE: ReadonlyMap<number, WriteRejectionReason> = new Map([
  [8, "read-only"],
  [13, "disk-full"],
]);

/**
 * Before version 7, Redis reports the error of a command within a script in the middle of its message; before 7.2 it
 * reports missing permissions in words.
 */
const WITHIN_SCRIPT = /@user_script.* -?(READONLY|OOM|MISCONF|NOREPLICAS|NOPERM) /;
const NO_RIGHTS_WITHIN_SCRIPT = /The user executing the script can't /;

/**
 * Why the server rejected an operation, when the reason is the state of the server and not this operation: every store
 * on the server then gets the same error. `undefined` for any other error, which belongs to the store.
 */
export function writeRejectionReason(error: unknown): WriteRejectionReason | undefined {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 4; cause = cause.cause, depth += 1) {
    const { code, errcode } = cause as { code?: unknown; errcode?: unknown };
    const word = WITHIN_SCRIPT.exec(cause.message)?.[1] ?? (typeof code === "string" ? withoutExtension(code) : "");
    if (NO_RIGHTS_WITHIN_SCRIPT.test(cause.message)) return "no-rights";
    const reason = typeof errcode === "number" ? SQLITE.get(errcode & 0xff) : REASONS.get(word);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** Reduces SQLite's extended codes: SQLITE_READONLY_DBMOVED is a SQLITE_READONLY. */
function withoutExtension(code: string): string {
  return /^SQLITE_[A-Z]+(?=_)/.exec(code)?.[0] ?? code;
}
