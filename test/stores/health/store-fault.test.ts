import { describe, expect, it } from "vitest";
import { createRuntime } from "../../../src/core/runtime.js";
import { faultOf, type StoreFault, UnreadableRecordError } from "../../../src/stores/health/store-fault.js";
import { StoreFullError } from "../../../src/stores/health/store-full.js";
import { StoreGuard, StoreUnavailableError } from "../../../src/stores/health/store-guard.js";
import { nameText, text } from "../../../src/stores/records.js";
import { PoolBusyError } from "../../../src/stores/sql/errors.js";
import { ManualClock } from "../../support/manual-clock.js";

const coded = (code: string, more: object = {}): Error => Object.assign(new Error("x"), { code, ...more });
const thrownBy = (work: () => unknown): unknown => {
  try {
    return work();
  } catch (error) {
    return error;
  }
};

const TABLE: readonly (readonly [StoreFault, string, unknown])[] = [
  ["input", "PostgreSQL: value too long", coded("22001")],
  ["input", "PostgreSQL: a text that is no UTF-8", coded("22021")],
  ["input", "PostgreSQL: number out of range", coded("22003")],
  ["input", "PostgreSQL: too long for an index", coded("54000")],
  ["input", "MariaDB: value too long", coded("ER_DATA_TOO_LONG", { sqlState: "22001" })],
  ["input", "MariaDB: a wrong value", coded("ER_TRUNCATED_WRONG_VALUE_FOR_FIELD", { sqlState: "HY000" })],
  ["input", "SQLite by number", Object.assign(new Error("x"), { code: "ERR_SQLITE_ERROR", errcode: 18 })],
  ["input", "SQLite by name", coded("SQLITE_TOOBIG")],
  ["input", "NUL, refused before any engine is asked", thrownBy(() => text("\0"))],
  ["input", "a name of 256 characters", thrownBy(() => nameText("a".repeat(256)))],
  ["input", "a cause", new StoreUnavailableError("x", { cause: coded("22001") })],
  ["full", "a bounded store without a place left", new StoreFullError("store", "x")],
  [
    "share",
    "an owner whose places are taken",
    new StoreUnavailableError("x", { cause: new StoreFullError("share", "x") }),
  ],
  ["record", "a record of a newer version", new UnreadableRecordError("API key")],
  ["record", "another type in Redis", coded("WRONGTYPE")],
  [
    "record",
    "another type in Redis, met by a script",
    new Error("ERR Error running script: -WRONGTYPE Operation against a key"),
  ],
  ["overload", "our own pool", new PoolBusyError()],
  ["late", "PostgreSQL ended the statement", coded("57014")],
  ["late", "a lock in MariaDB", coded("ER_LOCK_WAIT_TIMEOUT", { sqlState: "HY000" })],
  ["unreachable", "no connection", coded("ECONNREFUSED")],
  ["unreachable", "PostgreSQL is shutting down", coded("57P01")],
  ["other", "a table is missing", coded("42P01")],
  ["other", "SQLite: any other error", Object.assign(new Error("x"), { code: "ERR_SQLITE_ERROR", errcode: 1 })],
  ["other", "a duplicate key", coded("23505")],
  ["other", "no error at all", "text"],
];

describe("faultOf", () => {
  it.each(TABLE)("%s: %s", (fault, _what, error) => expect(faultOf(error)).toBe(fault));
  it("accepts a name of 255 characters", () => expect(nameText("a".repeat(255))).toHaveLength(255));
});

describe("a guard", () => {
  it.each(TABLE.filter(([fault]) => fault === "input" || fault === "record" || fault === "overload"))(
    "does not count it as an outage, however often: %s, %s",
    async (fault, _what, error) => {
      const clock = new ManualClock();
      const runtime = createRuntime({ clock });
      const events: string[] = [];
      runtime.events.on("*", ({ event }) => events.push(event));
      const guard = new StoreGuard("store", runtime, 50);
      for (let call = 0; call < 50; call += 1) {
        const failed = await Promise.resolve(guard.run(() => Promise.reject(error))).catch((caught: unknown) => caught);
        expect([failed instanceof StoreUnavailableError, faultOf(failed)]).toEqual([true, fault]);
        await expect(guard.run(() => Promise.resolve("another caller"))).resolves.toBe("another caller");
      }
      expect(guard.isDown).toBe(false);
      expect(events).toEqual(fault === "overload" ? ["portcullis_overload"] : []);
    },
  );

  it("does not open its circuit for one slow call while others are answered", async () => {
    const guard = new StoreGuard("store", createRuntime(), 20);
    for (let round = 0; round < 10; round += 1) {
      const slow = guard.run(() => new Promise(() => undefined));
      await expect(guard.run(() => Promise.resolve(1))).resolves.toBe(1);
      await expect(slow).rejects.toBeInstanceOf(StoreUnavailableError);
    }
    await expect(guard.run(() => Promise.resolve(1))).resolves.toBe(1);
  });

  it("opens its circuit when calls are late and none is answered, and then fails at once", async () => {
    const guard = new StoreGuard("store", createRuntime({ clock: new ManualClock() }), 20);
    const slow = Array.from({ length: 5 }, () => guard.run(() => new Promise(() => undefined)));
    for (const answer of slow) await expect(answer).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(() => guard.run(() => Promise.resolve(1))).toThrow(StoreUnavailableError);
  });
});
