import { describe, expect, it } from "vitest";
import { writeRejectionReason } from "../../../src/stores/health/rejected-writes.js";
import { isConnectionError } from "../../../src/stores/health/connection-errors.js";

const error = (facts: object, message = "x"): Error => Object.assign(new Error(message), facts);

describe("writeRejectionReason", () => {
  it.each([
    ["READONLY", "read-only"],
    ["OOM", "out-of-memory"],
    ["MISCONF", "not-saving"],
    ["NOREPLICAS", "too-few-replicas"],
    ["NOPERM", "no-rights"],
    ["25006", "read-only"],
    ["53100", "disk-full"],
    ["53200", "out-of-memory"],
    ["42501", "no-rights"],
    ["ER_OPTION_PREVENTS_STATEMENT", "read-only"],
    ["ER_DISK_FULL", "disk-full"],
    ["ER_TABLEACCESS_DENIED_ERROR", "no-rights"],
    ["SQLITE_READONLY", "read-only"],
    ["SQLITE_READONLY_DBMOVED", "read-only"],
    ["SQLITE_FULL", "disk-full"],
  ])("%s: %s, and the server is reachable", (code, reason) => {
    expect(writeRejectionReason(error({ code }))).toBe(reason);
    expect(isConnectionError(error({ code }))).toBe(false);
  });

  // Twins of the above that are this one operation's.
  it.each([
    "WRONGTYPE",
    "ERR",
    "NOSCRIPT",
    "23505",
    "22P02",
    "40001",
    "42P01",
    "ER_DUP_ENTRY",
    "ER_BAD_FIELD_ERROR",
    "SQLITE_CONSTRAINT_UNIQUE",
    "SQLITE_BUSY",
  ])("%s: not a refusal of writes", (code) => {
    expect(writeRejectionReason(error({ code }))).toBeUndefined();
  });

  it("reads node:sqlite's numbers, causes, and what Redis before 7.2 says of a command within a script; never throws", () => {
    expect(writeRejectionReason(error({ code: "ERR_SQLITE_ERROR", errcode: 8 | (4 << 8) }))).toBe("read-only");
    expect(writeRejectionReason(error({ code: "ERR_SQLITE_ERROR", errcode: 19 }))).toBeUndefined();
    expect(writeRejectionReason(new Error("wrapped", { cause: error({ code: "25006" }) }))).toBe("read-only");
    expect(
      writeRejectionReason(
        error(
          { code: "ERR" },
          "ERR Error running script (call to f_1): @user_script:7: @user_script: 7: -OOM command not allowed",
        ),
      ),
    ).toBe("out-of-memory");
    expect(
      writeRejectionReason(
        error({ code: "ERR" }, "ERR The user executing the script can't run this command or subcommand"),
      ),
    ).toBe("no-rights");
    const loop = new Error("loop");
    loop.cause = loop;
    for (const other of [
      loop,
      undefined,
      null,
      "OOM",
      { code: "OOM" },
      error({ code: 42501 }),
      new Error("OOM in a name"),
    ])
      expect(writeRejectionReason(other)).toBeUndefined();
  });
});
