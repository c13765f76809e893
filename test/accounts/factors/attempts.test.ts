import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Failures, opensAt, withFailure, withoutFailure } from "../../../src/accounts/factors/attempts.js";

const MINUTE = 60_000;
const DAY = 86_400_000;
const NONE: Failures = { inARow: 0, at: [] };

describe("attempts", () => {
  test("four failures cost nothing, the fifth and later ones growing waits", () => {
    let failures = NONE;
    let now = 40 * DAY;
    const waits: number[] = [];
    for (let count = 1; count <= 10; count += 1) {
      failures = withFailure(failures, now);
      const opens = opensAt(failures, now);
      waits.push((opens - now) / MINUTE);
      if (opens > now) expect(opensAt(failures, opens - 1)).toBeGreaterThan(opens - 1);
      expect(opensAt(failures, opens)).toBeLessThanOrEqual(opens);
      now = opens;
    }
    expect(waits.slice(0, 9)).toEqual([0, 0, 0, 0, 1, 5, 15, 60, 240]);
    expect(waits[9]).toBe(24 * 60 - 321);
  });

  test("a run that is longer than the waits goes on with the longest", () => {
    // Two a day, so that no window is full: the run alone decides.
    const twelve = Array.from({ length: 12 }, (_one, index) => index * (DAY / 2)).reduce(
      (failures, now) => withFailure(failures, now),
      NONE,
    );
    const last = twelve.at.at(-1) ?? 0;
    expect(opensAt(twelve, last) - last).toBe(240 * MINUTE);
  });

  test("the fiftieth failure in thirty days closes the factor until the first of them is thirty days old", () => {
    // Two a day; the owner has just logged in, so that no run counts.
    const at = Array.from({ length: 50 }, (_one, index) => index * (DAY / 2));
    const now = (at.at(-1) ?? 0) + 1;
    expect(opensAt({ inARow: 0, at }, now)).toBe(30 * DAY);
    expect(opensAt({ inARow: 0, at: at.slice(1) }, now)).toBe(now);
  });

  test("a success ends the run and takes back its own attempt alone", () => {
    const six = [1, 2, 3, 4, 5].reduce((failures, now) => withFailure(failures, now), NONE);
    expect(opensAt(six, 6)).toBe(5 + MINUTE);
    const after = withoutFailure(withFailure(six, MINUTE * 2), MINUTE * 2);
    expect(after).toEqual({ inARow: 0, at: [1, 2, 3, 4, 5] });
    expect(opensAt(after, MINUTE * 2)).toBe(MINUTE * 2);
  });

  test("keeps fifty times, in their order, and a success that was not counted takes none away", () => {
    const many = Array.from({ length: 60 }, (_one, index) => index + 1).reduce(
      (failures, now) => withFailure(failures, now),
      NONE,
    );
    expect(many).toEqual({ inARow: 60, at: Array.from({ length: 50 }, (_one, index) => index + 11) });
    expect(withFailure(many, 5).at.at(-1)).toBe(60);
    expect(withoutFailure(many, 5)).toEqual({ inARow: 0, at: many.at });
    expect(withoutFailure({ inARow: 2, at: [1, 2, 3] }, 2)).toEqual({ inARow: 0, at: [1, 3] });
  });

  test("whoever guesses gets ten in a day and fifty in thirty days, however often the owner logs in between", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: DAY / 4 }), fc.boolean()), { maxLength: 400 }),
        (moves) => {
          let failures = NONE;
          let now = 100 * DAY;
          const guesses: number[] = [];
          for (const [pause, isOwner] of moves) {
            now += pause;
            if (opensAt(failures, now) > now) continue;
            failures = withFailure(failures, now);
            if (isOwner) failures = withoutFailure(failures, now);
            else guesses.push(now);
            expect(guesses.filter((at) => at > now - DAY).length).toBeLessThanOrEqual(10);
            expect(guesses.filter((at) => at > now - 30 * DAY).length).toBeLessThanOrEqual(50);
          }
        },
      ),
    );
  });

  test("always opens again within thirty days", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: DAY }), { maxLength: 200 }), (pauses) => {
        let failures = NONE;
        let now = DAY;
        for (const pause of pauses) failures = withFailure(failures, (now += pause));
        expect(opensAt(failures, now)).toBeLessThanOrEqual(now + 30 * DAY);
      }),
    );
  });
});
