import assert from "node:assert/strict";
import type { RateLimitStore, WindowPolicy } from "../stores/contracts.js";
import type { ConformanceCase } from "./conformance.js";
import type { StoreTimes } from "./store-times.js";

/** One check of a store. `elapse` lets that many milliseconds pass for it, `times` checks the times in its answers. */
export type RateLimitCase = (
  name: string,
  check: (store: RateLimitStore, elapse: (ms: number) => Promise<void>, times: StoreTimes) => Promise<void>,
) => ConformanceCase;

/** The checks of `consumeAll`, for a store that has it. */
export function batchCases(testCase: RateLimitCase, POLICY: WindowPolicy): ConformanceCase[] {
  const { windowMs: WINDOW_MS } = POLICY;
  return [
    testCase(
      "consumeAll, if the store has it: counts in every limit or in none, and returns the outcomes in order",
      async (store, _elapse, times) => {
        const all = store.consumeAll?.bind(store);
        if (all === undefined) return;
        const minute: WindowPolicy = { name: "suite", limit: 3, windowMs: WINDOW_MS };
        const burst: WindowPolicy = { name: "burst", limit: 2, windowMs: WINDOW_MS / 2 };
        assert.deepEqual(await all([]), []);
        const both = await times.of(() =>
          all([
            { policy: minute, key: "a", cost: 1 },
            { policy: burst, key: "a", cost: 2 },
          ]),
        );
        assert.deepEqual(
          both.answer.map(({ allowed, used, retryAfterMs }) => [allowed, used, retryAfterMs]),
          [
            [true, 1, 0],
            [true, 2, 0],
          ],
        );
        times.assertLeft(both.answer[1]?.resetMs ?? -1, burst.windowMs, both, both);
        const one = await times.of(() =>
          all([
            { policy: minute, key: "a", cost: 2 },
            { policy: burst, key: "a", cost: 1 },
            { policy: minute, key: "b", cost: 1 },
          ]),
        );
        assert.deepEqual(
          one.answer.map(({ allowed, used }) => [allowed, used]),
          [
            [true, 1],
            [false, 2],
            [true, 0],
          ],
        );
        times.assertLeft(one.answer[1]?.retryAfterMs ?? -1, burst.windowMs, both, one);
        assert.equal((await store.peek(minute, "a", 1)).used, 1, "nothing was recorded for the limit that allowed");
        assert.equal((await store.peek(minute, "b", 1)).used, 0, "nothing was recorded for the other key");
      },
    ),

    testCase("consumeAll: the same policy and key twice count as one request of both costs", async (store) => {
      if (store.consumeAll === undefined) return;
      const twice = [
        { policy: POLICY, key: "a", cost: 1 },
        { policy: { ...POLICY }, key: "a", cost: 1 },
      ];
      assert.deepEqual(
        (await store.consumeAll(twice)).map(({ allowed, used }) => [allowed, used]),
        [
          [true, 2],
          [true, 2],
        ],
      );
      assert.deepEqual(
        (await store.consumeAll(twice)).map(({ allowed, used }) => [allowed, used]),
        [
          [false, 2],
          [false, 2],
        ],
      );
      assert.equal((await store.consume(POLICY, "a", 1)).allowed, true);
    }),

    testCase(
      "consumeAll: of thirty concurrent calls on two limits exactly as many as the smaller one allows are accepted",
      async (store) => {
        const all = store.consumeAll?.bind(store);
        if (all === undefined) return;
        const wide: WindowPolicy = { name: "wide", limit: 100, windowMs: WINDOW_MS * 5 };
        const narrow: WindowPolicy = { name: "narrow", limit: 7, windowMs: WINDOW_MS * 5 };
        const calls = Array.from({ length: 30 }, async () =>
          all([
            { policy: wide, key: "a", cost: 2 },
            { policy: narrow, key: "a", cost: 1 },
          ]),
        );
        const accepted = (await Promise.all(calls)).filter((outcomes) =>
          outcomes.every(({ allowed }) => allowed),
        ).length;
        assert.equal(accepted, 7);
        assert.equal((await store.peek(wide, "a", 1)).used, 14);
      },
    ),
  ];
}
