import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "../../../src/stores/health/circuit-breaker.js";
import { Outage } from "../../../src/stores/health/outage.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { ManualClock } from "../../support/manual-clock.js";

const circuit = (): CircuitBreaker => {
  const clock = new ManualClock();
  const runtime = createRuntime({ clock });
  return new CircuitBreaker(new Outage("database", runtime), clock);
};

/** One call: when it begins, how long it takes, and whether it is answered or given up. */
const call = fc.record({ begins: fc.nat(100), takes: fc.integer({ min: 1, max: 40 }), isLate: fc.boolean() });

describe("a circuit and calls that are late", () => {
  it("opens at the fifth in a row, and not at the fourth", () => {
    const it = circuit();
    for (let late = 1; late <= 5; late += 1) {
      const pass = it.tryAcquire();
      expect(pass, `call ${late}`).toBeDefined();
      it.timedOut(pass!, it.successes, new Error("late"));
      expect(it.isDown).toBe(late === 5);
    }
  });

  it("stays closed while any caller is answered: property over any overlap of calls", () => {
    fc.assert(
      fc.property(fc.array(call, { maxLength: 60 }), (calls) => {
        const it = circuit();
        const events = calls.flatMap((made, index) => [
          { at: made.begins, isEnd: false, index },
          { at: made.begins + made.takes, isEnd: true, index },
        ]);
        events.sort((a, b) => a.at - b.at || Number(a.isEnd) - Number(b.isEnd));
        const begun = new Map<
          number,
          { pass: NonNullable<ReturnType<CircuitBreaker["tryAcquire"]>>; successes: number }
        >();
        // What should be: late calls during whose whole wait nobody was answered, counted since the last answer.
        let lastAnswer = -1;
        let unanswered = 0;
        for (const [order, { isEnd, index }] of events.entries()) {
          if (!isEnd) {
            const pass = it.tryAcquire();
            if (pass === undefined) return; // open: covered by the tests of the guard
            begun.set(index, { pass, successes: it.successes });
            continue;
          }
          const { pass, successes } = begun.get(index)!;
          const started = events.findIndex((event) => event.index === index && !event.isEnd);
          if (calls[index]!.isLate) {
            it.timedOut(pass, successes, new Error("late"));
            if (started > lastAnswer) unanswered += 1;
          } else {
            it.succeeded(pass);
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

describe("a circuit that late calls have opened", () => {
  const open = () => {
    const clock = new ManualClock();
    const runtime = createRuntime({ clock });
    const made = new CircuitBreaker(new Outage("database", runtime), clock);
    for (let call = 0; call < 5; call += 1)
      made.timedOut(made.tryAcquire("slow")!, made.successes, new Error("late"), "slow");
    expect(made.isDown).toBe(true);
    return { made, clock };
  };

  it("pauses for the client whose call was late, and lets another one through", () => {
    const { made, clock } = open();
    expect(made.tryAcquire("slow")).toBeUndefined();
    const other = made.tryAcquire("other");
    expect(other).toBeDefined();
    expect(made.tryAcquire("other")).toBeUndefined();
    clock.advance(50);
    expect(made.tryAcquire("slow")).toBeDefined();
    made.succeeded(other!);
    expect([made.isDown, made.tryAcquire("slow") !== undefined]).toEqual([false, true]);
  });

  it("lengthens the pause of one client up to half a second, and of no other", () => {
    const { made, clock } = open();
    const pauses = [50, 100, 200, 400, 500, 500];
    for (const pause of pauses) {
      clock.advance(pause - 1);
      expect(made.tryAcquire("slow")).toBeUndefined();
      clock.advance(1);
      made.timedOut(made.tryAcquire("slow")!, made.successes, new Error("late"), "slow");
    }
    expect(made.tryAcquire("other")).toBeDefined();
  });

  it("lets 16 calls wait at once, and the next when one is done", () => {
    const { made } = open();
    const passes = Array.from({ length: 16 }, (_, client) => made.tryAcquire(String(client)));
    expect(passes.every((pass) => pass !== undefined)).toBe(true);
    expect(made.tryAcquire("one more")).toBeUndefined();
    made.release(passes[3]!);
    expect(made.tryAcquire("one more")).toBeDefined();
    expect(made.tryAcquire("and another")).toBeUndefined();
  });

  it("keeps its 16 places after it has forgotten the clients in them", () => {
    const { made } = open();
    const passes = Array.from({ length: 15 }, (_, client) => made.tryAcquire(`waiting ${client}`)!);
    for (let client = 0; client < 3000; client += 1) {
      const pass = made.tryAcquire(`passing ${client}`)!;
      made.timedOut(pass, made.successes, new Error("late"), `passing ${client}`);
    }
    expect(made.tryAcquire("sixteenth")).toBeDefined();
    expect(made.tryAcquire("seventeenth")).toBeUndefined();
    for (const pass of passes) made.release(pass);
    expect(made.tryAcquire("seventeenth")).toBeDefined();
  });

  it("tries with one call at a time when the server turns out to be unreachable", () => {
    const { made, clock } = open();
    const [first, second] = [made.tryAcquire("a")!, made.tryAcquire("b")!];
    made.failed(first, new Error("refused"));
    expect(made.tryAcquire("c")).toBeUndefined();
    clock.advance(50);
    const probe = made.tryAcquire("c")!;
    expect(made.tryAcquire("d")).toBeUndefined();
    // What began before says nothing any more, and gives no place back twice.
    made.timedOut(second, made.successes, new Error("late"), "b");
    expect(made.tryAcquire("d")).toBeUndefined();
    made.succeeded(probe);
    expect(made.isDown).toBe(false);
  });

  it("lets others try when the one probe of an unreachable server is late: the server is reachable", () => {
    const { made, clock } = open();
    made.failed(made.tryAcquire("a")!, new Error("refused"));
    clock.advance(50);
    made.timedOut(made.tryAcquire("slow")!, made.successes, new Error("late"), "slow");
    expect(made.tryAcquire("slow")).toBeUndefined();
    const other = made.tryAcquire("other")!;
    made.succeeded(other);
    expect(made.isDown).toBe(false);
  });

  it("never has more than 16 calls waiting, and closes at an answer: property over any calls", () => {
    const step = fc.record({ client: fc.nat(30), ms: fc.nat(300), end: fc.constantFrom("late", "worked", "returned") });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.infiniteStream(fc.nat(40)), (steps, order) => {
        const { made, clock } = open();
        const waiting: [NonNullable<ReturnType<CircuitBreaker["tryAcquire"]>>, string][] = [];
        for (const { client, ms, end } of steps) {
          clock.advance(ms);
          const pass = made.tryAcquire(String(client));
          if (pass !== undefined) {
            expect(waiting.some(([, other]) => other === String(client))).toBe(false);
            waiting.push([pass, String(client)]);
          }
          expect(waiting.length).toBeLessThanOrEqual(16);
          if (waiting.length === 0 || order.next().value! > 25) continue;
          const [[done, name]] = waiting.splice(order.next().value! % waiting.length, 1) as [(typeof waiting)[0]];
          if (end === "late") made.timedOut(done, made.successes, new Error("late"), name);
          else if (end === "returned") made.release(done);
          else {
            made.succeeded(done);
            expect(made.isDown).toBe(false);
            return;
          }
          expect(made.isDown).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });
});
