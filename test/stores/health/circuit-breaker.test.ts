import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Circuit } from "../../../src/stores/health/circuit-breaker.js";
import { Outage } from "../../../src/stores/health/outage.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { ManualClock } from "../../support/manual-clock.js";

const circuit = (): Circuit => {
  const clock = new ManualClock();
  const runtime = createRuntime({ clock });
  return new Circuit(new Outage("database", runtime), clock);
};

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
