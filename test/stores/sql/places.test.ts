import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DatabaseTimeoutError, PoolBusyError } from "../../../src/stores/sql/errors.js";
import { Places } from "../../../src/stores/sql/places.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** The fake clock takes a millisecond for the `setImmediate` at the end of a time-out. */
const IMMEDIATE_MS = 1;

describe("places in a pool of connections", () => {
  it("are given at once while there are some, and then to the last caller first", async () => {
    const places = new Places(2, () => true);
    const served: number[] = [];
    const take = (n: number): Promise<unknown> =>
      places.take(100).then(
        () => served.push(n),
        () => served.push(-n),
      );
    const taken = [1, 2, 3, 4, 5].map(take);
    await vi.advanceTimersByTimeAsync(0);
    expect(served).toEqual([1, 2]);
    places.give();
    await vi.advanceTimersByTimeAsync(0);
    taken.push(take(6));
    places.give();
    await vi.advanceTimersByTimeAsync(0);
    expect(served).toEqual([1, 2, 5, 6]);
    await vi.advanceTimersByTimeAsync(100 + IMMEDIATE_MS);
    expect(served.slice(4).sort()).toEqual([-3, -4]);
    await Promise.all(taken);
  });

  it("are refused with PoolBusyError when none becomes free in time, and only then", async () => {
    const places = new Places(1, () => true);
    await places.take(10);
    const refused = expect(places.take(10)).rejects.toBeInstanceOf(PoolBusyError);
    await vi.advanceTimersByTimeAsync(10 + IMMEDIATE_MS);
    await refused;
    places.give();
    await places.take(10);
  });

  it("are refused with DatabaseTimeoutError while they wait for connections that the server does not open", async () => {
    const places = new Places(1, () => false);
    await places.take(10);
    const refused = expect(places.take(10)).rejects.toBeInstanceOf(DatabaseTimeoutError);
    await vi.advanceTimersByTimeAsync(10 + IMMEDIATE_MS);
    await refused;
  });

  it("come back when a connection could not be made", async () => {
    const places = new Places(1, () => true);
    await expect(
      places.acquire(
        () => Promise.reject(new Error("refused")),
        100,
        () => undefined,
      ),
    ).rejects.toThrow("refused");
    expect(
      await places.acquire(
        () => Promise.resolve(7),
        100,
        () => undefined,
      ),
    ).toBe(7);
  });

  it("never exceed their number, and none is lost (property)", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.oneof(fc.constant("give" as const), fc.integer({ min: 1, max: 50 })), { maxLength: 60 }),
        async (size, steps) => {
          const places = new Places(size, () => true);
          let held = 0;
          for (const step of steps) {
            if (step !== "give")
              void places.take(step).then(
                () => (held += 1),
                () => undefined,
              );
            else if (held > 0) {
              held -= 1;
              places.give();
            }
            await vi.advanceTimersByTimeAsync(step === "give" ? 0 : step % 7);
            expect(held).toBeLessThanOrEqual(size);
          }
          await vi.advanceTimersByTimeAsync(100);
          for (; held > 0; held -= 1) places.give();
          for (let n = 0; n < size; n += 1) await places.take(1);
        },
      ),
    );
  });
});
