import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createRuntime } from "../../../src/core/runtime.js";
import { RepeatedWrites } from "../../../src/stores/health/repeated-writes.js";
import { ManualClock } from "../../support/manual-clock.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** The time limit of one write, in milliseconds. */
const WRITE_MS = 10_000;

/** The fake clock takes a millisecond for the `setImmediate` at the end of a time-out. */
const IMMEDIATE_MS = 1;

const runtime = createRuntime();

const fail = () => Promise.reject(new Error("down"));

describe("RepeatedWrites", () => {
  it("does a write after half a second, once", async () => {
    const writes = new RepeatedWrites(runtime, "revocation");
    const write = vi.fn(() => Promise.resolve());
    writes.add("a", write);
    await vi.advanceTimersByTimeAsync(499);
    expect(write).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect([write.mock.calls.length, writes.size]).toEqual([1, 0]);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(write).toHaveBeenCalledTimes(1);
  });

  it("repeats a write that fails, less and less often, until it succeeds", async () => {
    const writes = new RepeatedWrites(runtime, "revocation");
    const times: number[] = [];
    const began = Date.now();
    writes.add("a", () => {
      times.push(Date.now() - began);
      return times.length < 9 ? fail() : Promise.resolve();
    });
    await vi.advanceTimersByTimeAsync(200_000);
    expect(times).toEqual([500, 1500, 3500, 7500, 15_500, 31_500, 61_500, 91_500, 121_500]);
    expect(writes.size).toBe(0);
  });

  it("gives a new write its own pause while others have failed for long", async () => {
    const writes = new RepeatedWrites(runtime, "revocation");
    writes.add("bad", fail);
    for (let n = 0; n < 20; n += 1) writes.add(`hangs ${n}`, () => new Promise(() => undefined));
    await vi.advanceTimersByTimeAsync(300_000);
    for (let minute = 0; minute < 5; minute += 1) {
      const write = vi.fn(() => Promise.resolve());
      writes.add("new", write);
      await vi.advanceTimersByTimeAsync(500);
      expect([write.mock.calls.length, writes.size]).toEqual([1, 21]);
      await vi.advanceTimersByTimeAsync(59_500);
    }
    writes.close();
  });

  it("repeats every write within a bounded time, however many fail for ever", async () => {
    const writes = new RepeatedWrites(runtime, "revocation");
    const tries = Array.from({ length: 100 }, (_, n) => {
      const write = vi.fn(n % 10 === 0 ? () => new Promise(() => undefined) : fail);
      writes.add(`${n}`, write);
      return write;
    });
    await vi.advanceTimersByTimeAsync(300_000);
    for (const write of tries) write.mockClear();
    await vi.advanceTimersByTimeAsync(120_000);
    // Every 30 seconds, and 10 seconds more for one that hangs or waits for one.
    expect(tries.filter(({ mock }) => mock.calls.length < 2 || mock.calls.length > 5)).toEqual([]);
    writes.close();
    expect(vi.getTimerCount()).toBeLessThanOrEqual(10);
  });

  it("keeps the pause of one write apart from any others (any mixture of writes)", async () => {
    const kinds = fc.array(fc.constantFrom("works", "fails", "hangs", "fails twice"), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(kinds, async (mixture) => {
        const writes = new RepeatedWrites(runtime, "revocation");
        const times: number[] = [];
        const began = Date.now();
        for (const [n, kind] of mixture.entries()) {
          let calls = 0;
          writes.add(`${n}`, () => {
            calls += 1;
            if (kind === "hangs") return new Promise(() => undefined);
            return kind === "works" || (kind === "fails twice" && calls === 3) ? Promise.resolve() : fail();
          });
        }
        writes.add("watched", () => {
          times.push(Date.now() - began);
          return times.length < 5 ? fail() : Promise.resolve();
        });
        // Seven of the others may hang.
        await vi.advanceTimersByTimeAsync(20_000);
        const hanging = mixture.filter((kind) => kind === "hangs").length;
        if (hanging < 8) expect(times).toEqual([500, 1500, 3500, 7500, 15_500]);
        expect(writes.size).toBe(
          hanging + mixture.filter((kind) => kind === "fails").length + (times.length < 5 ? 1 : 0),
        );
        writes.close();
        await vi.advanceTimersByTimeAsync(10_000);
      }),
      { numRuns: 50 },
    );
  });

  it("is not held up by writes that fail or hang", async () => {
    const writes = new RepeatedWrites(runtime, "revocation");
    for (let n = 0; n < 20; n += 1) writes.add(`hangs ${n}`, () => new Promise(() => undefined));
    writes.add("fails", fail);
    writes.add("throws", () => {
      throw new Error("down");
    });
    const write = vi.fn(() => Promise.resolve());
    writes.add("works", write);
    await vi.advanceTimersByTimeAsync(500 + 10_000 + IMMEDIATE_MS);
    expect(write).toHaveBeenCalledTimes(1);
    expect(writes.size).toBe(22);
    writes.close();
  });

  it("repeats a write that hung, and counts one that succeeds after its time-out", async () => {
    const writes = new RepeatedWrites(runtime, "revocation");
    const again = vi.fn(() => (again.mock.calls.length === 1 ? new Promise<void>(() => undefined) : Promise.resolve()));
    const late = vi.fn(() => new Promise<void>((resolve) => setTimeout(resolve, 10_500)));
    writes.add("again", again);
    writes.add("late", late);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([again.mock.calls.length, late.mock.calls.length, writes.size]).toEqual([2, 1, 0]);
  });

  it("replaces an earlier write of the same name, even one under way", async () => {
    const writes = new RepeatedWrites(runtime, "revocation");
    const first = vi.fn(() => new Promise<void>((resolve) => setTimeout(resolve, 100)));
    const second = vi.fn(() => Promise.resolve());
    writes.add("a", first);
    await vi.advanceTimersByTimeAsync(550);
    writes.add("a", second);
    await vi.advanceTimersByTimeAsync(2000);
    expect([first.mock.calls.length, second.mock.calls.length, writes.size]).toEqual([1, 1, 0]);
  });

  it("gives up a write once the same call has succeeded, unless it was added while that call ran", async () => {
    const writes = new RepeatedWrites(runtime, "revocation");
    const [replaced, added] = [vi.fn(() => Promise.resolve()), vi.fn(() => Promise.resolve())];
    writes.add("a", replaced);
    const succeeded = [writes.replacing("a"), writes.replacing("b")];
    writes.add("b", added);
    for (const call of succeeded) call();
    await vi.advanceTimersByTimeAsync(2000);
    expect([replaced.mock.calls.length, added.mock.calls.length, writes.size]).toEqual([0, 1, 0]);
  });

  it("does a write at once before a change that it must not end, and not again", async () => {
    const writes = new RepeatedWrites(runtime, "revocation");
    const write = vi.fn(() => Promise.resolve());
    writes.add("a", write);
    expect(writes.doNow("b")).toBeUndefined();
    await writes.doNow("a");
    expect([write.mock.calls.length, writes.size, writes.doNow("a")]).toEqual([1, 0, undefined]);
    await vi.advanceTimersByTimeAsync(2000);
    expect(write).toHaveBeenCalledTimes(1);
  });

  it("does a write once for all changes that wait for it, also when it fails", async () => {
    const writes = new RepeatedWrites(runtime, "revocation");
    const write = vi.fn(() => (write.mock.calls.length === 1 ? fail() : Promise.resolve()));
    writes.add("a", write);
    for (const status of ["rejected", "fulfilled"]) {
      const changes = await Promise.allSettled(Array.from({ length: 200 }, async () => writes.doNow("a")));
      expect(new Set(changes.map((change) => change.status))).toEqual(new Set([status]));
    }
    expect(write).toHaveBeenCalledTimes(2);
  });

  it("reports that a write cannot be done at once, and keeps repeating it", async () => {
    const writes = new RepeatedWrites(runtime, "revocation");
    const write = vi.fn(() => (write.mock.calls.length === 1 ? fail() : Promise.resolve()));
    writes.add("a", write);
    await expect(writes.doNow("a")).rejects.toThrow("down");
    await vi.advanceTimersByTimeAsync(500);
    expect([write.mock.calls.length, writes.size]).toEqual([2, 0]);
  });

  it("waits 50 ms for the call that was given up before it does a write now", async () => {
    const writes = new RepeatedWrites(runtime, "revocation");
    const done: string[] = [];
    const takes = (ms: number, name: string) =>
      new Promise<void>((resolve) => setTimeout(() => resolve(void done.push(name)), ms));
    writes.add("a", () => takes(10, "a again"), takes(40, "a given up"));
    writes.add("b", () => takes(10, "b again"), takes(400, "b given up"));
    const [first, second] = [writes.doNow("a"), writes.doNow("b")];
    await vi.advanceTimersByTimeAsync(60 + IMMEDIATE_MS);
    await first;
    await second;
    expect([done, writes.size]).toEqual([["a given up", "a again", "b again"], 0]);
  });

  it("announces that it gives up a write, once a second however many it gives up", () => {
    const clock = new ManualClock();
    const watched = createRuntime({ clock });
    const events: unknown[] = [];
    watched.events.on("*", ({ event, source, reason }) => events.push([event, source, reason]));
    const writes = new RepeatedWrites(watched, "revocation");
    for (let n = 0; n < 10_000; n += 1) writes.add(`${n}`, fail);
    // The same name again is no further write.
    writes.add("9999", fail);
    expect([writes.size, events]).toEqual([10_000, []]);
    for (let n = 0; n < 500; n += 1) writes.add(`more ${n}`, fail);
    const event = ["portcullis_overload", "revocation", "repeated-writes"];
    expect([writes.size, events]).toEqual([10_000, [event]]);
    clock.advance(1000);
    writes.add("one more", fail);
    expect(events).toEqual([event, event]);
    writes.close();
  });

  it("drops the oldest of more than 10,000, and all when it is closed", async () => {
    // Timers are told by their delay: what other files left in this process may use the fake clock too.
    const started = vi.spyOn(globalThis, "setTimeout");
    const cleared = vi.spyOn(globalThis, "clearTimeout");
    const writes = new RepeatedWrites(runtime, "revocation");
    const oldest = vi.fn(fail);
    const write = vi.fn(fail);
    writes.add("oldest", oldest);
    for (let n = 0; n < 10_000; n += 1) writes.add(`${n}`, write);
    expect(writes.size).toBe(10_000);
    await vi.advanceTimersByTimeAsync(500);
    expect(oldest).not.toHaveBeenCalled();
    expect(write).toHaveBeenCalled();
    writes.close();
    writes.add("late", write);
    expect(writes.size).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    const ended = new Set<unknown>(cleared.mock.calls.map(([timer]) => timer));
    const limits = started.mock.results.filter((_result, at) => started.mock.calls[at]?.[1] === WRITE_MS);
    expect(limits.length).toBeGreaterThan(0);
    expect(limits.filter(({ value }) => !ended.has(value))).toEqual([]);
    write.mockClear();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(write).not.toHaveBeenCalled();
  });
});
