import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Circuit, type Pass } from "../../src/core/circuit.js";
import { Outage } from "../../src/core/outage.js";
import { createRuntime } from "../../src/core/runtime.js";
import { ManualClock } from "../support/manual-clock.js";

const circuit = (clock = new ManualClock()): Circuit => {
  const runtime = createRuntime({ clock });
  return new Circuit(new Outage("database", runtime), clock);
};

/** A circuit that five late calls have opened, and whose first pause is over. */
function late(): { readonly it: Circuit; readonly clock: ManualClock; readonly earlier: Pass } {
  const clock = new ManualClock();
  const it = circuit(clock);
  const earlier = it.admit()!;
  for (let call = 0; call < 5; call += 1) it.late(it.admit()!, it.successes, new Error("late"));
  expect([it.isDown, it.admit()]).toEqual([true, undefined]);
  clock.advance(20);
  return { it, clock, earlier };
}

/** One call: when it begins, how long it takes, and whether it is answered or given up. */
const call = fc.record({ begins: fc.nat(100), takes: fc.integer({ min: 1, max: 40 }), isLate: fc.boolean() });

describe("a circuit and calls that are late", () => {
  it("opens at the fifth in a row, and not at the fourth", () => {
    const it = circuit();
    for (let late = 1; late <= 5; late += 1) {
      const pass = it.admit();
      expect(pass, `call ${late}`).toBeDefined();
      it.late(pass!, it.successes, new Error("late"));
      expect(it.isDown).toBe(late === 5);
    }
  });

  it("stays closed while anybody is answered: property over any overlap of calls", () => {
    fc.assert(
      fc.property(fc.array(call, { maxLength: 60 }), (calls) => {
        const it = circuit();
        const events = calls.flatMap((made, index) => [
          { at: made.begins, isEnd: false, index },
          { at: made.begins + made.takes, isEnd: true, index },
        ]);
        events.sort((a, b) => a.at - b.at || Number(a.isEnd) - Number(b.isEnd));
        const begun = new Map<number, { pass: NonNullable<ReturnType<Circuit["admit"]>>; successes: number }>();
        // What should be: late calls during whose whole wait nobody was answered, counted since the last answer.
        let lastAnswer = -1;
        let unanswered = 0;
        for (const [order, { isEnd, index }] of events.entries()) {
          if (!isEnd) {
            const pass = it.admit();
            if (pass === undefined) return; // open: covered by the tests of the guard
            begun.set(index, { pass, successes: it.successes });
            continue;
          }
          const { pass, successes } = begun.get(index)!;
          const started = events.findIndex((event) => event.index === index && !event.isEnd);
          if (calls[index]!.isLate) {
            it.late(pass, successes, new Error("late"));
            if (started > lastAnswer) unanswered += 1;
          } else {
            it.worked(pass);
            lastAnswer = order;
            unanswered = 0;
          }
          expect(it.isDown).toBe(unanswered >= 5);
          if (it.isDown) return;
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a circuit of a server that is late for one caller", () => {
  const TIMEOUT = 250;

  it("lets an honest caller in, at the latest 25 ms after a refusal: property over the pace of both", () => {
    fc.assert(
      fc.property(fc.integer({ min: 13, max: 1000 }), fc.integer({ min: 30, max: 3000 }), fc.nat(2999), (slowEvery, honestEvery, firstHonest) => {
        const clock = new ManualClock();
        const it = circuit(clock);
        const slow: { readonly pass: Pass; readonly successes: number; readonly endsAt: number }[] = [];
        let isAgain = false;
        for (let now = 0, honestAt = firstHonest; now < 12_000; now += 1, clock.advance(1)) {
          while (slow[0] !== undefined && slow[0].endsAt <= now) {
            const { pass, successes } = slow.shift()!;
            it.late(pass, successes, new Error("late"));
          }
          if (now % slowEvery === 0) {
            const pass = it.admit();
            if (pass !== undefined) slow.push({ pass, successes: it.successes, endsAt: now + TIMEOUT });
          }
          if (now !== honestAt) continue;
          const pass = it.admit();
          if (pass === undefined) {
            expect(isAgain, `slow every ${slowEvery} ms, honest at ${now}`).toBe(false);
            isAgain = true;
            honestAt += 25;
          } else {
            it.worked(pass);
            expect(it.isDown).toBe(false);
            isAgain = false;
            honestAt += honestEvery;
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it("lets five probes begin in 50 ms, and no more", () => {
    const { it, clock } = late();
    for (let probe = 0; probe < 5; probe += 1) expect(it.admit()).toBeDefined();
    expect(it.admit()).toBeUndefined();
    clock.advance(49);
    expect(it.admit()).toBeUndefined();
    clock.advance(1);
    expect(it.admit()).toBeDefined();
  });

  it("pauses after a late probe for 20 ms, however often that happens, and only when no other probe waits", () => {
    const { it, clock } = late();
    for (let round = 0; round < 10; round += 1) {
      const [first, second] = [it.admit()!, it.admit()!];
      clock.advance(TIMEOUT);
      it.late(first, it.successes, new Error("late"));
      const third = it.admit();
      expect(third).toBeDefined();
      it.late(third!, it.successes, new Error("late"));
      it.late(second, it.successes, new Error("late"));
      clock.advance(19);
      expect(it.admit()).toBeUndefined();
      clock.advance(1);
    }
    expect(it.admit()).toBeDefined();
  });

  it("closes at the answer to any call, also to one that began before it opened", () => {
    const { it, earlier } = late();
    const probe = it.admit()!;
    it.worked(earlier);
    expect(it.isDown).toBe(false);
    // The probe is of an outage that is over.
    it.failed(probe, new Error("ECONNRESET"));
    it.late(probe, it.successes - 1, new Error("late"));
    expect(it.isDown).toBe(false);
  });

  it("is probed by one call at a time once the server cannot be reached, and less and less often", () => {
    const { it, clock } = late();
    const [first, second] = [it.admit()!, it.admit()!];
    it.failed(first, new Error("ECONNREFUSED"));
    for (const pause of [50, 100, 200, 400, 500, 500]) {
      clock.advance(pause - 1);
      expect(it.admit()).toBeUndefined();
      clock.advance(1);
      const probe = it.admit()!;
      expect(it.admit()).toBeUndefined();
      it.failed(probe, new Error("ECONNREFUSED"));
    }
    // Of before the refusal: it neither counts as a probe nor proves that the server is back.
    it.worked(second);
    expect(it.isDown).toBe(true);
  });

  it("does not wait for a slow probe once a server that could not be reached is late", () => {
    const clock = new ManualClock();
    const it = circuit(clock);
    it.failed(it.admit()!, new Error("ECONNREFUSED"));
    clock.advance(50);
    it.late(it.admit()!, it.successes, new Error("late"));
    expect([it.isDown, it.admit()]).toEqual([true, undefined]);
    clock.advance(20);
    expect([it.admit(), it.admit()]).toEqual([expect.anything(), expect.anything()]);
  });
});
