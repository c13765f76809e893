import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { SecurityEvent } from "../../../src/core/events.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { StoreGuard, StoreUnavailableError } from "../../../src/stores/health/store-guard.js";
import { registerBackend, backendOf } from "../../../src/stores/health/backend.js";
import { ManualClock } from "../../support/manual-clock.js";

const error = (code: string): Error => Object.assign(new Error("x"), { code });
const fail = (code: string) => (): Promise<never> => Promise.reject(error(code));
const never = (): Promise<never> => new Promise(() => undefined);
const works = (): Promise<number> => Promise.resolve(1);

/** Two stores on one server that can be written to unless it declines, and one elsewhere. */
function setUp(timeoutMs = 30) {
  const server = { declines: "", triedWrites: 0 };
  const tryWrite = (): Promise<number> => {
    server.triedWrites += 1;
    return server.declines === "" ? works() : fail(server.declines)();
  };
  const clock = new ManualClock();
  const runtime = createRuntime({ clock });
  const events: string[] = [];
  runtime.events.on("*", ({ event, source, reason }: SecurityEvent) =>
    events.push(`${event === "portcullis_store_recovered" ? "up" : "down"} ${source} ${reason ?? ""}`),
  );
  const [limits, sessions, elsewhere] = [{}, {}, {}];
  registerBackend({ name: "redis", probeWrite: tryWrite }, [limits, sessions]);
  const guard = (name: string, on: object): StoreGuard => new StoreGuard(name, runtime, timeoutMs, on);
  return {
    clock,
    runtime,
    events,
    server,
    limits: guard("limits", limits),
    sessions: guard("sessions", sessions),
    elsewhere: guard("elsewhere", elsewhere),
  };
}

describe("stores on one server", () => {
  it("go silent together: one time-out, one event, and the others fail at once", async () => {
    const { limits, sessions, elsewhere, events, clock } = setUp();
    for (const answer of Array.from({ length: 5 }, () => limits.run(never)))
      await expect(answer).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(() => sessions.run(works)).toThrow(StoreUnavailableError);
    expect([limits.isDown, sessions.isDown, elsewhere.isDown]).toEqual([true, true, false]);
    await expect(elsewhere.run(works)).resolves.toBe(1);
    clock.advance(50);
    await expect(sessions.run(works)).resolves.toBe(1);
    await expect(limits.run(works)).resolves.toBe(1);
    expect(events).toEqual(["down limits no-answer-in-time", "down redis ETIMEDOUT", "up redis answered"]);
  });

  it("fail alone: any other error is reported by the store that got it, which is still asked", async () => {
    const { limits, sessions, events, clock } = setUp();
    await expect(limits.run(fail("EXECABORT"))).rejects.toBeInstanceOf(StoreUnavailableError);
    await expect(sessions.run(works)).resolves.toBe(1);
    await expect(limits.run(works)).resolves.toBe(1);
    await expect(limits.run(fail("EXECABORT"))).rejects.toBeInstanceOf(StoreUnavailableError);
    clock.advance(50);
    await expect(limits.run(works)).resolves.toBe(1);
    expect(events).toEqual(["down limits EXECABORT", "up limits answered"]);
  });

  it("are reported once when their server refuses writes, and are still asked: reads work", async () => {
    const { limits, sessions, events, clock, server } = setUp();
    server.declines = "OOM";
    for (const guard of [limits, sessions, limits])
      await expect(guard.run(fail("OOM"))).rejects.toMatchObject({ cause: { code: "OOM" } });
    // A call that works may have been a read: it says nothing of writes.
    for (const guard of [limits, sessions]) await expect(guard.run(works)).resolves.toBe(1);
    expect([limits.isDown, sessions.isDown, server.triedWrites]).toEqual([false, false, 0]);
    clock.advance(50);
    await expect(limits.run(works)).resolves.toBe(1);
    await sleep(1);
    expect([server.triedWrites, events]).toEqual([1, ["down redis out-of-memory"]]);
    server.declines = "";
    clock.advance(100);
    await expect(sessions.run(works)).resolves.toBe(1);
    await sleep(1);
    await expect(limits.run(works)).resolves.toBe(1);
    expect([server.triedWrites, events]).toEqual([2, ["down redis out-of-memory", "up redis answered"]]);
  });

  it("do not start the outage anew for a refused write from before the recovery", async () => {
    const { limits, sessions, events, clock } = setUp();
    const old = limits.run(async () => {
      await sleep(20);
      throw error("READONLY");
    });
    await expect(sessions.run(fail("READONLY"))).rejects.toBeInstanceOf(StoreUnavailableError);
    clock.advance(50);
    await expect(sessions.run(works)).resolves.toBe(1);
    await expect(old).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(events).toEqual(["down redis read-only", "up redis answered"]);
  });

  it("have one outage when their server goes from silent to read-only", async () => {
    const { limits, sessions, events, clock, server } = setUp();
    server.declines = "READONLY";
    await expect(limits.run(fail("ECONNREFUSED"))).rejects.toBeInstanceOf(StoreUnavailableError);
    clock.advance(50);
    await expect(limits.run(fail("READONLY"))).rejects.toBeInstanceOf(StoreUnavailableError);
    await expect(sessions.run(works)).resolves.toBe(1);
    server.declines = "";
    clock.advance(50);
    await expect(sessions.run(works)).resolves.toBe(1);
    await sleep(1);
    expect(events).toEqual(["down redis ECONNREFUSED", "up redis answered"]);
  });

  it("report a server that refuses writes themselves where no write can be tried", async () => {
    const { elsewhere, events } = setUp();
    await expect(elsewhere.run(fail("READONLY"))).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(elsewhere.isDown).toBe(true);
    expect(events).toEqual(["down elsewhere read-only"]);
  });

  it("probe a server that is still unreachable less and less often", async () => {
    const { limits, clock } = setUp();
    const pauses: number[] = [];
    for (let i = 0; i < 6; i += 1) {
      await expect(limits.run(fail("ECONNREFUSED"))).rejects.toBeInstanceOf(StoreUnavailableError);
      let waited = 0;
      for (; ; waited += 50) {
        try {
          await limits.run(works);
          break;
        } catch {
          clock.advance(50);
        }
      }
      pauses.push(waited);
    }
    expect(pauses).toEqual([50, 100, 200, 400, 500, 500]);
  });

  it("do not take an answer from this process's memory as a sign that the server is back", async () => {
    const { limits, sessions, events, clock } = setUp();
    await expect(limits.run(fail("ECONNRESET"))).rejects.toBeInstanceOf(StoreUnavailableError);
    clock.advance(50);
    expect(sessions.run(() => 7)).toBe(7);
    expect(sessions.isDown).toBe(true);
    expect(events).toEqual(["down redis ECONNRESET"]);
  });

  it("double the pause after each failed probe, from 50 ms up to half a second", async () => {
    const { limits, clock } = setUp();
    await expect(limits.run(fail("ECONNREFUSED"))).rejects.toBeInstanceOf(StoreUnavailableError);
    for (const pause of [50, 100, 200, 400, 500, 500]) {
      clock.advance(pause - 1);
      expect(() => limits.run(works), `${pause}`).toThrow(StoreUnavailableError);
      clock.advance(1);
      await expect(limits.run(fail("ECONNREFUSED"))).rejects.toBeInstanceOf(StoreUnavailableError);
    }
  });

  it("do not start the outage anew for a call from before the recovery that fails after it", async () => {
    const { limits, events, clock } = setUp(60);
    const old = limits.run(never);
    await expect(limits.run(fail("ECONNRESET"))).rejects.toBeInstanceOf(StoreUnavailableError);
    clock.advance(50);
    await expect(limits.run(works)).resolves.toBe(1);
    await expect(old).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(limits.isDown).toBe(false);
    expect(events).toEqual(["down redis ECONNRESET", "up redis answered", "down limits no-answer-in-time"]);
  });

  it("pass on what an inner guard has reported, without a second report", async () => {
    const { limits, elsewhere, events } = setUp();
    await expect(limits.run(fail("ECONNRESET"))).rejects.toBeInstanceOf(StoreUnavailableError);
    await expect(elsewhere.run(async () => limits.run(works))).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(elsewhere.isDown).toBe(false);
    expect(events).toEqual(["down redis ECONNRESET"]);
  });

  it("count an answer that waited in the socket while this process was busy", async () => {
    const { limits } = setUp(20);
    const answer = limits.run(async () => {
      await sleep(5);
      return 1;
    });
    const busyUntil = performance.now() + 60;
    while (performance.now() < busyUntil);
    await expect(answer).resolves.toBe(1);
  });
});

describe("guards of a store that belongs to no known server", () => {
  it("share its silence, under the name of the first guard, and not their errors", async () => {
    const { runtime, events } = setUp();
    const store = {};
    const [reads, writes] = [new StoreGuard("reads", runtime, 20, store), new StoreGuard("writes", runtime, 20, store)];
    await expect(writes.run(fail("23505"))).rejects.toBeInstanceOf(StoreUnavailableError);
    expect([reads.isDown, writes.isDown]).toEqual([false, true]);
    await expect(reads.run(fail("ECONNREFUSED"))).rejects.toBeInstanceOf(StoreUnavailableError);
    expect([reads.isDown, writes.isDown]).toEqual([true, true]);
    expect(events).toEqual(["down writes 23505", "down reads ECONNREFUSED"]);
  });
});

describe("registerBackend", () => {
  it("assigns a part on another server by the name of its guard", () => {
    const [redis, database] = [{ name: "redis" }, { name: "database" }];
    const tokens = {};
    registerBackend(database, [tokens, undefined]);
    registerBackend(redis, [tokens], "revocation");
    registerBackend(undefined, [tokens]);
    expect([
      backendOf(tokens),
      backendOf(tokens, "refresh-token"),
      backendOf(tokens, "revocation"),
      backendOf({}),
      backendOf(undefined),
    ]).toEqual([database, database, redis, undefined, undefined]);
  });
});
