import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HashQueue, HashUnavailableError } from "../../src/api-key/hash-queue.js";

/** A queue whose jobs end one at a time, when told to; keeps the order in which they began. */
function steps(concurrency: number, waiting: number) {
  const began: string[] = [];
  const running: (() => void)[] = [];
  let full = 0;
  const queue = new HashQueue(concurrency, waiting, () => (full += 1));
  const outcomes = new Map<string, "done" | "refused">();
  const add = (name: string, tags: readonly string[]): Promise<void> => {
    const job = (): Promise<void> =>
      new Promise((resolve) => {
        began.push(name);
        running.push(resolve);
      });
    return queue.run(job, tags).then(
      () => void outcomes.set(name, "done"),
      (error: unknown) => {
        expect(error).toBeInstanceOf(HashUnavailableError);
        outcomes.set(name, "refused");
      },
    );
  };
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
  };
  const endOne = async (): Promise<void> => {
    running.shift()?.();
    await settle();
  };
  return { queue, began, running, outcomes, add, endOne, settle, fullTimes: () => full };
}

describe("the queue of hashes", () => {
  it("serves a newcomer after one job of each other party, not after all of them", async () => {
    const { add, began, endOne, settle } = steps(1, 20);
    for (let n = 0; n < 8; n += 1) void add(`a${n}`, ["address a"]);
    void add("b0", ["address b", "key b"]);
    await settle();
    for (let n = 0; n < 3; n += 1) await endOne();
    expect(began.slice(0, 3)).toContain("b0");
  });

  it("counts a job by whichever of its parties has most: one address with many keys, one key from many addresses", async () => {
    for (const tags of [(n: number) => ["address a", `key ${n}`], (n: number) => [`address ${n}`, "key k"]]) {
      const { add, began, endOne, settle } = steps(1, 20);
      for (let n = 0; n < 8; n += 1) void add(`a${n}`, tags(n));
      void add("owner", ["owner o"]);
      await settle();
      for (let n = 0; n < 3; n += 1) await endOne();
      expect(began.slice(0, 3)).toContain("owner");
    }
  });

  it("gives a place to a newcomer when parties that have several fill it together; the twin with one each is refused", async () => {
    const { add, outcomes, settle, fullTimes, queue } = steps(1, 5);
    for (const party of ["a", "b", "c"]) for (let n = 0; n < 2; n += 1) void add(`${party}${n}`, [`address ${party}`]);
    void add("newcomer", ["address d"]);
    await settle();
    expect([...outcomes]).toEqual([["c1", "refused"]]);
    expect([fullTimes(), queue.size]).toEqual([1, 6]);
    const even = steps(1, 2);
    for (const party of ["a", "b", "c"]) void even.add(party, [`address ${party}`]);
    void even.add("newcomer", ["address d"]);
    await even.settle();
    expect([...even.outcomes]).toEqual([["newcomer", "refused"]]);
  });

  it("is bounded, refuses nobody while there is room, and serves whoever has a place: property", async () => {
    const arrival = fc.record({ address: fc.integer({ min: 0, max: 3 }), key: fc.integer({ min: 0, max: 3 }), ends: fc.integer({ min: 0, max: 2 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(arrival, { maxLength: 40 }), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 8 }), async (arrivals, concurrency, waiting) => {
        const { add, outcomes, endOne, queue, running, settle } = steps(concurrency, waiting);
        const jobs: Promise<void>[] = [];
        for (const [index, { address, key, ends }] of arrivals.entries()) {
          const before = { size: queue.size, refused: [...outcomes.values()].filter((outcome) => outcome === "refused").length };
          jobs.push(add(String(index), [`address ${address}`, `key ${key}`]));
          await settle();
          expect(queue.size).toBeLessThanOrEqual(concurrency + waiting);
          expect(running.length).toBeLessThanOrEqual(concurrency);
          const refused = [...outcomes.values()].filter((outcome) => outcome === "refused").length;
          // With less than half of the places taken, nobody can be over a share, and nothing is full.
          if (before.size < (concurrency + waiting) / 2) expect(refused).toBe(before.refused);
          expect(refused - before.refused).toBeLessThanOrEqual(1);
          for (let n = 0; n < ends; n += 1) await endOne();
        }
        while (queue.size > 0) await endOne();
        await Promise.all(jobs);
        expect(outcomes.size).toBe(arrivals.length);
      }),
      { numRuns: 300 },
    );
  });
});
