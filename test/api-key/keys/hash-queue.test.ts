import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HashQueue, HashUnavailableError } from "../../../src/api-key/keys/hash-queue.js";

/** A queue whose jobs end one at a time, when told to; keeps the order in which they began. */
function steps(concurrency: number, waiting: number) {
  const began: string[] = [];
  const running: (() => void)[] = [];
  let full = 0;
  const queue = new HashQueue(concurrency, waiting, () => (full += 1));
  const outcomes = new Map<string, "done" | "refused">();
  const add = (name: string, callers: readonly string[], key?: string, owner = key): Promise<void> => {
    const job = (): Promise<void> =>
      new Promise((resolve) => {
        began.push(name);
        running.push(resolve);
      });
    return queue.run(job, callers, key === undefined || owner === undefined ? undefined : { key, owner }).then(
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
    void add("b0", ["address b"], "key b");
    await settle();
    for (let n = 0; n < 3; n += 1) await endOne();
    expect(began.slice(0, 3)).toContain("b0");
  });

  it("counts a job for its address or for its key, whichever has more jobs", async () => {
    for (const [address, key] of [
      [() => "a", String],
      [String, () => "k"],
    ] as const) {
      const { add, began, endOne, settle } = steps(1, 20);
      for (let n = 0; n < 8; n += 1) void add(`a${n}`, [`address ${address(n)}`], `key ${key(n)}`);
      void add("owner", ["owner o"]);
      await settle();
      for (let n = 0; n < 3; n += 1) await endOne();
      expect(began.slice(0, 3)).toContain("owner");
    }
  });

  it("leaves room for the keys of others when many keys of one owner are guessed at, each from its own address", async () => {
    const { add, outcomes, settle } = steps(1, 9);
    for (let n = 0; n < 12; n += 1) void add(`flood ${n}`, [`address ${n}`], `key ${n}`, "mallory");
    for (let n = 0; n < 5; n += 1) void add(`other ${n}`, [`address of ${n}`], `other key ${n}`);
    await settle();
    expect([...outcomes].map(([name]) => name.split(" ")[0])).toEqual(Array.from({ length: 7 }, () => "flood"));
  });

  it("gives a newcomer a place when the queue is full of parties with several jobs, and refuses it when each has only one", async () => {
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

  it("serves the holder of a key before the second guess of any other caller, even when guesses fill all places of that key", async () => {
    for (const guesses of [3, 11]) {
      const { add, began, endOne, outcomes, settle } = steps(1, 20);
      for (let n = 0; n < guesses; n += 1) void add(`guess${n}`, ["address a"], "key k");
      void add("holder", ["address b"], "key k");
      await settle();
      for (let n = 0; n < 3; n += 1) await endOne();
      expect(began.slice(0, 3)).toContain("holder");
      // In place of the last guess, where there was none.
      expect([...outcomes].filter(([, outcome]) => outcome === "refused")).toEqual(
        guesses === 11 ? [["guess10", "refused"]] : [],
      );
    }
  });

  it("refuses another address for a key whose places are all taken by different addresses", async () => {
    const { add, outcomes, settle } = steps(1, 20);
    for (let n = 0; n < 12; n += 1) void add(`guess${n}`, [`address ${n}`], "key k");
    void add("newcomer", ["address b"], "key b");
    await settle();
    expect([...outcomes]).toEqual([["guess11", "refused"]]);
  });

  it.each([
    ["callers that come back after each job", (last: string) => last],
    ["ever new callers", (_last: string, count: number) => `new ${count}`],
  ])("serves a caller's second job although there are %s", async (_name, next) => {
    const { add, began, endOne, settle } = steps(2, 6);
    const others = ["x", "y", "z"];
    for (const other of others) void add(other, [`address ${other}`]);
    for (const name of ["mine", "mine"]) void add(name, ["address mine"]);
    await settle();
    for (let ended = 0; ended < 12; ended += 1) {
      const last = began[ended] ?? "";
      await endOne();
      const other = next(last, ended);
      if (last !== "mine") void add(other, [`address ${other}`]);
      await settle();
    }
    expect(began.slice(0, 4)).toContain("mine");
    expect(began.filter((name) => name === "mine")).toHaveLength(2);
  });

  it("keeps no memory of callers that were served, however many they were", async () => {
    const { add, endOne, queue, settle } = steps(1, 9);
    for (let n = 0; n < 500; n += 1) {
      void add(`job${n}`, [`address ${n}`], `key ${n}`);
      await settle();
      if (n >= 5) await endOne();
      expect(queue.parties).toBeLessThanOrEqual(50);
    }
  });

  it("is bounded, refuses no job while there is room, and serves every job that has a place (property)", async () => {
    const arrival = fc.record({
      address: fc.integer({ min: 0, max: 3 }),
      key: fc.integer({ min: 0, max: 3 }),
      ends: fc.integer({ min: 0, max: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(arrival, { maxLength: 40 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 0, max: 8 }),
        async (arrivals, concurrency, waiting) => {
          const { add, outcomes, endOne, queue, running, settle } = steps(concurrency, waiting);
          const jobs: Promise<void>[] = [];
          for (const [index, { address, key, ends }] of arrivals.entries()) {
            const before = {
              size: queue.size,
              refused: [...outcomes.values()].filter((outcome) => outcome === "refused").length,
            };
            jobs.push(add(String(index), [`address ${address}`], `key ${key}`));
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
          expect(queue.parties).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("serves a caller with one job after a few jobs of each other caller and never refuses it, whatever a flood guesses at (property)", async () => {
    const flood = fc.array(
      fc.record({ address: fc.integer({ min: 1, max: 4 }), key: fc.integer({ min: 0, max: 9 }) }),
      { minLength: 30, maxLength: 120 },
    );
    // Its key is one of those that are guessed at, or another.
    await fc.assert(
      fc.asyncProperty(flood, flood, fc.integer({ min: 0, max: 10 }), async (before, after, own) => {
        const { add, began, endOne, outcomes, settle, queue } = steps(1, 19);
        const attack = (list: readonly { address: number; key: number }[]): void => {
          for (const { address, key } of list) void add(`flood ${address}`, [`address ${address}`], `key ${key}`);
        };
        attack(before);
        await settle();
        const from = began.length;
        void add("honest", ["address 0"], `key ${own}`);
        attack(after);
        await settle();
        while (!began.includes("honest") && queue.size > 0) {
          await endOne();
          attack(after.slice(0, 8));
          await settle();
        }
        expect(outcomes.get("honest")).not.toBe("refused");
        const ahead = began.slice(from, began.indexOf("honest"));
        // Its own round and the next; where its key is guessed at, one more round for each address that came before it there.
        const most = own === 10 ? 3 : 7;
        for (const address of [1, 2, 3, 4])
          expect(ahead.filter((name) => name === `flood ${address}`).length).toBeLessThanOrEqual(most);
      }),
      { numRuns: 100 },
    );
  });
});
