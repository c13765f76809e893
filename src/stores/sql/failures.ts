/**
 * What a failure of a driver means for the operation.
 *
 * - `busy`: another process has locked SQLite's file; nothing was done.
 * - `conflict`: the server rolled the transaction back because of another one (deadlock, serialisation); nothing was
 *   done.
 * - `lost`: the connection is lost; a commit that was in progress may or may not have been done.
 * - `full`: the server accepts no more connections now.
 * - `denied`: the role lacks a permission.
 */
export type FailureKind = "busy" | "conflict" | "lost" | "full" | "denied" | "other";

/** PostgreSQL: appendix A of its manual. MySQL and MariaDB: their numbers, by mysql2's names. */
const KINDS: Readonly<Record<string, FailureKind>> = {
  "40001": "conflict",
  "40P01": "conflict",
  ER_LOCK_DEADLOCK: "conflict",
  ER_CHECKREAD: "conflict",
  "57P01": "lost",
  "57P02": "lost",
  "57P03": "lost",
  "25P03": "lost",
  ECONNRESET: "lost",
  EPIPE: "lost",
  PROTOCOL_CONNECTION_LOST: "lost",
  ER_SERVER_SHUTDOWN: "lost",
  ER_CONNECTION_KILLED: "lost",
  ER_CLIENT_INTERACTION_TIMEOUT: "lost",
  "53300": "full",
  ER_CON_COUNT_ERROR: "full",
  ER_TOO_MANY_USER_CONNECTIONS: "full",
  ER_USER_LIMIT_REACHED: "full",
  "42501": "denied",
  ER_TABLEACCESS_DENIED_ERROR: "denied",
  ER_DBACCESS_DENIED_ERROR: "denied",
  ER_SPECIFIC_ACCESS_DENIED_ERROR: "denied",
};

export function failureKind(error: unknown): FailureKind {
  if (!(error instanceof Error)) return "other";
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  // node:sqlite sets `errcode`, the others `code`; extended codes have SQLITE_BUSY (5) in their lowest byte.
  if (typeof errcode === "number") return (errcode & 0xff) === 5 ? "busy" : "other";
  if (typeof code !== "string") return isLostMessage(error.message) ? "lost" : "other";
  if (code.startsWith("SQLITE_")) return code.startsWith("SQLITE_BUSY") ? "busy" : "other";
  if (code.startsWith("08")) return "lost";
  return Object.hasOwn(KINDS, code) ? (KINDS[code] ?? "other") : "other";
}

/** pg reports some lost connections only by the message. */
function isLostMessage(message: string): boolean {
  return (
    message.startsWith("Connection terminated") ||
    message.startsWith("Client has encountered a connection error") ||
    message.includes("closed state")
  );
}

/** The message of an error; an AggregateError of several addresses has no message of its own. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown reason";
  if (error.message !== "") return error.message;
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : error.name;
}
