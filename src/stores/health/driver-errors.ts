import {
  CERTIFICATE,
  CODE_WITHOUT_MEANING,
  CODES_BY_DRIVER,
  CONNECTION_EXCEPTION,
  DATA_EXCEPTION,
  DRIVER_ERROR_CLASSES,
  type DriverErrorClass,
  MESSAGES,
  SQLITE_CODES,
  WITHIN_SCRIPT,
} from "./driver-error-codes.js";
import { LateAnswerError } from "./timeout.js";

/** At most this many levels of causes are read, so that a cycle of causes ends. */
const MOST_CAUSES = 4;

const CODES = new Map<string, DriverErrorClass>(SQLITE_CODES.map(([, name, meaning]) => [name, meaning]));
for (const codes of Object.values(CODES_BY_DRIVER))
  for (const meaning of DRIVER_ERROR_CLASSES) for (const code of codes[meaning] ?? []) CODES.set(code, meaning);

const SQLITE_NUMBERS = new Map<number, DriverErrorClass>(SQLITE_CODES.map(([number, , meaning]) => [number, meaning]));

/** Classifies an error by its own code or message and those of its causes. Anything else is `operation`. */
export function classifyDriverError(error: unknown): DriverErrorClass {
  let found = DRIVER_ERROR_CLASSES.length - 1;
  for (let cause = error, depth = 0; cause instanceof Error && depth < MOST_CAUSES; cause = cause.cause, depth += 1)
    found = Math.min(found, DRIVER_ERROR_CLASSES.indexOf(classOf(cause)));
  return DRIVER_ERROR_CLASSES[found] ?? "operation";
}

function classOf(error: Error): DriverErrorClass {
  const { code, errno, errcode, sqlState } = error as Error & Readonly<Record<string, unknown>>;
  // Its code is that of a connection that the kernel gave up.
  if (error instanceof LateAnswerError) return "late";
  // node:sqlite: extended result codes have the primary one in their lowest byte.
  if (typeof errcode === "number") return SQLITE_NUMBERS.get(errcode & 0xff) ?? "operation";
  const known = typeof code === "string" ? classOfCode(code) : undefined;
  if (known !== undefined) return known;
  if (typeof sqlState === "string") return classOfMysql(sqlState, errno) ?? "operation";
  return CODE_WITHOUT_MEANING.test(typeof code === "string" ? code : "") ? classOfMessage(error.message) : "operation";
}

function classOfCode(code: string): DriverErrorClass | undefined {
  const known = CODES.get(code);
  if (known !== undefined) return known;
  if (CONNECTION_EXCEPTION.test(code)) return "connection-lost";
  if (DATA_EXCEPTION.test(code)) return "invalid-data";
  if (CERTIFICATE.test(code)) return "certificate-rejected";
  // SQLITE_READONLY_DBMOVED is a SQLITE_READONLY.
  const primary = /^SQLITE_[A-Z]+(?=_)/.exec(code)?.[0];
  return primary === undefined ? undefined : CODES.get(primary);
}

/** An error for which mysql2 has no name, or whose name is not listed. */
function classOfMysql(sqlState: string, errno: unknown): DriverErrorClass | undefined {
  return CODES.get(String(errno)) ?? (DATA_EXCEPTION.test(sqlState) ? "invalid-data" : undefined);
}

/** Only the beginning of a message is fixed: what follows may be data of the caller. */
function classOfMessage(message: string): DriverErrorClass {
  const own = message.replace(WITHIN_SCRIPT, "");
  const known = MESSAGES.find(([pattern]) => pattern.test(own))?.[1];
  if (known !== undefined) return known;
  const word = own === message ? undefined : /^[A-Z]+(?= )/.exec(own)?.[0];
  return (word === undefined ? undefined : CODES.get(word)) ?? "operation";
}
