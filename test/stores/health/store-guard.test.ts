import { describe, expect, it } from "vitest";
import { caller } from "../../support/caller.js";
import type { SecurityEvent } from "../../../src/core/events.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { StoreGuard, StoreUnavailableError } from "../../../src/stores/health/store-guard.js";
import { StoreTime } from "../../../src/stores/health/store-time.js";
import { ManualClock } from "../../support/manual-clock.js";

function setUp(timeoutMs = 50) {
  const clock = new ManualClock();
  const runtime = createRuntime({ clock });
  const events: SecurityEvent[] = [];
  runtime.events.on("*", (event) => events.push(event));
  return { clock, events, guard: new StoreGuard("test", runtime, timeoutMs) };
}

const fail = () => Promise.reject(Object.assign(new Error("down"), { code: "ECONNREFUSED" }));

describe("StoreGuard", () => {
  it("returns a synchronous answer without a promise", () => {
    expect(setUp().guard.run(() => 7)).toBe(7);
  });

  it("returns an asynchronous answer", async () => {
    await expect(setUp().guard.run(() => Promise.resolve(7))).resolves.toBe(7);
  });

  it("recognises any thenable as a promise", async () => {
    const thenable = { then: (resolve: (value: number) => void) => resolve(7) };
    const answer = setUp().guard.run(() => thenable as unknown as Promise<number>);
    expect(answer).toBeInstanceOf(Promise);
    await expect(answer).resolves.toBe(7);
  });

  it("limits how long a call waits", async () => {
    const { guard } = setUp(30);
    const started = performance.now();
    await expect(guard.run(() => new Promise(() => undefined))).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(performance.now() - started).toBeLessThan(500);
  });

  it("reports once that the store is down, fails at once meanwhile, and reports once that it is back", async () => {
    const { guard, events, clock } = setUp();
    await expect(guard.run(fail)).rejects.toMatchObject({ code: "PORTCULLIS_STORE_UNAVAILABLE" });
    let asked = 0;
    const count = () => {
      asked += 1;
      return 1;
    };
    expect(() => guard.run(count)).toThrow(StoreUnavailableError);
    expect(asked).toBe(0);
    clock.advance(500);
    await expect(guard.run(fail)).rejects.toBeInstanceOf(StoreUnavailableError);
    clock.advance(500);
    expect(guard.run(count)).toBe(1);
    expect(guard.run(count)).toBe(1);
    expect(events.map(({ event, reason }) => [event, reason])).toEqual([
      ["portcullis_store_unavailable", "ECONNREFUSED"],
      ["portcullis_store_recovered", "answered"],
    ]);
  });

  it("sends one probe at a time", async () => {
    const { guard, clock } = setUp();
    await expect(guard.run(fail)).rejects.toBeInstanceOf(StoreUnavailableError);
    clock.advance(500);
    const probe = guard.run(() => new Promise<number>((resolve) => setTimeout(() => resolve(1), 10)));
    clock.advance(10_000);
    expect(() => guard.run(() => 2)).toThrow(StoreUnavailableError);
    await expect(probe).resolves.toBe(1);
    expect(guard.run(() => 2)).toBe(2);
  });

  it("treats a synchronous throw as a failure of the store", () => {
    const { guard } = setUp();
    expect(() =>
      guard.run(() => {
        throw new Error("boom");
      }),
    ).toThrow(StoreUnavailableError);
    expect(guard.isDown).toBe(true);
  });

  it("does not count a late answer as a sign that the store is back", async () => {
    const { guard, events, clock } = setUp(10);
    const late = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 400));
    for (let call = 0; call < 5; call += 1) await expect(guard.run(late)).rejects.toBeInstanceOf(StoreUnavailableError);
    clock.advance(500);
    await expect(guard.run(late)).rejects.toBeInstanceOf(StoreUnavailableError);
    await new Promise((resolve) => setTimeout(resolve, 450));
    expect(guard.isDown).toBe(true);
    expect(events.map(({ event }) => event)).toEqual(["portcullis_store_late", "portcullis_store_unavailable"]);
  });
});

describe("StoreGuard.write", () => {
  const after = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

  it("returns the answer of the store", async () => {
    const untold: unknown[] = [];
    const write = setUp().guard.write(
      (call) => Promise.resolve(call.beginCommit()),
      (value) => untold.push(value),
    );
    expect([await write, untold]).toEqual([true, []]);
  });

  it("does not let a store begin to commit after the deadline", async () => {
    const untold: unknown[] = [];
    let mayCommit: boolean | undefined;
    const write = setUp(20).guard.write(
      async (call) => {
        await after(60);
        mayCommit = call.beginCommit();
        if (!mayCommit) throw new Error("rolled back");
      },
      (value) => untold.push(value),
    );
    await expect(write).rejects.toBeInstanceOf(StoreUnavailableError);
    await after(80);
    expect([mayCommit, untold]).toEqual([false, []]);
  });

  it("waits for the outcome of a commit that began in time", async () => {
    const write = setUp(20).guard.write(async (call) => {
      call.beginCommit();
      await after(80);
      return 7;
    });
    expect(await write).toBe(7);
  });

  it.each([
    ["after", 60, true],
    ["within", 0, false],
  ] as const)("counts late calls on when a commit is answered %s the time-out", async (_when, ms, opens) => {
    const { guard, events } = setUp(30);
    const late = async (times: number): Promise<void> => {
      for (let call = 0; call < times; call += 1)
        await expect(guard.run(() => new Promise<never>(() => undefined))).rejects.toBeInstanceOf(
          StoreUnavailableError,
        );
    };
    await late(4);
    const write = guard.write(async (call) => {
      call.beginCommit();
      if (ms > 0) await after(ms);
      return 7;
    });
    expect(await write).toBe(7);
    await late(1);
    expect(guard.isDown).toBe(opens);
    expect(events.filter(({ event }) => event === "portcullis_store_unavailable")).toHaveLength(opens ? 1 : 0);
  });

  it("does not end an outage with a commit that was answered after the time-out", async () => {
    const { guard, clock } = setUp(30);
    const commit = (ms: number): Promise<number> =>
      guard.write(async (call) => {
        call.beginCommit();
        if (ms > 0) await after(ms);
        return 7;
      });
    for (let call = 0; call < 5; call += 1)
      await expect(guard.run(() => new Promise<never>(() => undefined))).rejects.toBeInstanceOf(StoreUnavailableError);
    clock.advance(500);
    expect([await commit(60), guard.isDown]).toEqual([7, true]);
    expect([await commit(0), guard.isDown]).toEqual([7, false]);
  });

  it("reports what a store without deadlines did too late", async () => {
    const untold: unknown[] = [];
    await expect(
      setUp(20).guard.write(
        () => after(60).then(() => 7),
        (value) => untold.push(value),
      ),
    ).rejects.toBeInstanceOf(StoreUnavailableError);
    await after(80);
    expect(untold).toEqual([7]);
  });

  it("reports a commit in doubt, and none after an error before the commit", async () => {
    for (const begins of [true, false]) {
      const untold: unknown[] = [];
      const write = setUp().guard.write(
        (call) => {
          if (begins) call.beginCommit();
          return fail();
        },
        (value) => untold.push(value),
      );
      await expect(write).rejects.toBeInstanceOf(StoreUnavailableError);
      expect(untold).toEqual(begins ? [undefined] : []);
    }
  });
});

describe("StoreGuard with a shared StoreTime", () => {
  const after = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
  const silent = () => new Promise<never>(() => undefined);

  it("gives a call the time that earlier calls have left, and makes no call when none is left", async () => {
    const { guard } = setUp(1000);
    const time = new StoreTime(1000);
    const began = performance.now();
    await guard.run(() => after(600), time);
    await expect(guard.run(silent, time)).rejects.toBeInstanceOf(StoreUnavailableError);
    // With a whole time-out of its own the second call would end after 1600 ms.
    expect(performance.now() - began).toBeLessThan(1500);
    // A timer may fire a moment before its time.
    await after(5);
    let calls = 0;
    expect(() => guard.run(() => (calls += 1), time)).toThrow(StoreUnavailableError);
    await expect(guard.write(() => (calls += 1), undefined, time)).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(calls).toBe(0);
    expect(guard.run(() => (calls += 1), new StoreTime(1000))).toBe(1);
  });

  it("gives a write the common deadline, extended by the time of other work", async () => {
    const { guard } = setUp(150);
    const time = new StoreTime(150);
    await guard.run(() => after(20), time);
    const { deadline } = time;
    expect(await guard.write((call) => call.deadline, undefined, time)).toBe(deadline);
    await time.besides(() => after(80));
    expect(await guard.write((call) => [call.deadline >= deadline + 75, call.beginCommit()], undefined, time)).toEqual([
      true,
      true,
    ]);
  });

  it("counts silence as an outage only where calls had the whole time-out", async () => {
    const { guard, events } = setUp(30);
    const rest = async (): Promise<StoreTime> => {
      const time = new StoreTime(30);
      await guard.run(() => Promise.resolve(), time);
      return time;
    };
    const late = async (times: readonly StoreTime[]): Promise<void> => {
      for (const result of await Promise.allSettled(times.map((time) => guard.run(silent, time))))
        expect(result.status).toBe("rejected");
    };
    await late(await Promise.all(Array.from({ length: 12 }, rest)));
    expect([guard.isDown, events.map(({ event }) => event)]).toEqual([false, ["portcullis_store_late"]]);
    await late(Array.from({ length: 12 }, () => new StoreTime(30)));
    expect(guard.isDown).toBe(true);
  });
});

describe("StoreGuard and the request a call is for", () => {
  const silent = () => new Promise<never>(() => undefined);
  const refused = async (call: () => unknown): Promise<boolean> => {
    try {
      await call();
      return false;
    } catch (error) {
      expect(error).toBeInstanceOf(StoreUnavailableError);
      return true;
    }
  };

  it("lets one request wait once for a silent server, and another one once more", async () => {
    const { guard } = setUp(40);
    const [request, other] = [caller("192.0.2.1"), caller("192.0.2.2")];
    expect(await refused(() => guard.run(silent, undefined, request))).toBe(true);
    let calls = 0;
    expect(await refused(() => guard.run(() => (calls += 1), undefined, request))).toBe(true);
    expect(calls).toBe(0);
    expect(await guard.run(() => (calls += 1), undefined, other)).toBe(1);
  });

  it("lets it ask again once the server has answered another call, or half a second later", async () => {
    for (const meanwhile of ["answer", "time", "nothing"] as const) {
      const { guard, clock } = setUp(40);
      const request = caller("192.0.2.1");
      expect(await refused(() => guard.run(silent, undefined, request))).toBe(true);
      if (meanwhile === "answer") void guard.run(() => 1);
      if (meanwhile === "time") clock.advance(500);
      expect(await refused(() => guard.run(() => 1, undefined, request))).toBe(meanwhile === "nothing");
    }
  });

  it("lets it ask a store on another server", async () => {
    const clock = new ManualClock();
    const runtime = createRuntime({ clock });
    const request = caller("192.0.2.1");
    const [silentOne, well] = [new StoreGuard("a", runtime, 40), new StoreGuard("b", runtime, 40)];
    expect(await refused(() => silentOne.run(silent, undefined, request))).toBe(true);
    expect(well.run(() => 1, undefined, request)).toBe(1);
  });
});

describe("StoreGuard and a reading that callers share", () => {
  const late = () => new Promise<never>(() => undefined);
  const down = async (): Promise<ReturnType<typeof setUp>> => {
    const set = setUp(30);
    for (const result of await Promise.allSettled(Array.from({ length: 5 }, () => set.guard.join(late))))
      expect(result.status).toBe("rejected");
    return set;
  };

  it("counts the waits that were in vain", async () => {
    expect((await down()).guard.isDown).toBe(true);
  });

  it("takes neither its result nor its error for an answer of the server, but those of an own call", async () => {
    const { guard, clock } = await down();
    clock.advance(50);
    await expect(guard.join(() => Promise.resolve(1))).resolves.toBe(1);
    const unreadable = Object.assign(new Error("x"), { code: "WRONGTYPE" });
    await expect(guard.join(() => Promise.reject(unreadable))).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(guard.isDown).toBe(true);
    await expect(guard.run(() => Promise.resolve(1))).resolves.toBe(1);
    expect(guard.isDown).toBe(false);
  });

  it("leaves a lost connection to its reader to report, and lets the next caller wait", async () => {
    const { guard, events } = setUp();
    await expect(Promise.resolve(guard.join(fail))).rejects.toBeInstanceOf(StoreUnavailableError);
    expect([guard.isDown, events]).toEqual([false, []]);
    await expect(guard.join(() => Promise.resolve(1))).resolves.toBe(1);
  });
});
