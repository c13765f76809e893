import assert from "node:assert/strict";
import type { RateLimitStore, WindowOutcome, WindowPolicy } from "../stores/contracts.js";
import { caseWith, type ConformanceCase } from "./conformance.js";
import { ManualClock } from "./manual-clock.js";
import { batchCases, type RateLimitCase } from "./rate-limit-batch-cases.js";
import { type Decided, StoreTimes } from "./store-times.js";

/** How the suite treats a store with a clock of its own. */
export interface RateLimitConformanceSettings {
  /** Lets this much time pass for the store, in milliseconds. Moves the clock given to `makeStore` unless set. */
  readonly elapse?: (ms: number) => Promise<void>;
  /**
   * How far the times in a store's answers may be off, in milliseconds (default 0): for a store on a clock of its own.
   * The suite itself allows for the time that a call takes.
   */
  readonly toleranceMs?: number;
  /** The window of the limits, in milliseconds (default 400): longer for a store that is waited for on a busy machine. */
  readonly windowMs?: number;
}

/**
 * The checks of a `RateLimitStore`, for any test runner.
 *
 * @param makeStore gives an empty store that measures its windows by the clock it is given, or by one of its own when
 *   `options.elapse` waits for real
 *
 * @example
 * ```ts
 * import { test } from "node:test";
 * import { type RateLimitStore } from "portcullis";
 * import { rateLimitStoreConformance, ManualClock } from "portcullis/testing";
 *
 * function checkRateLimitStore(makeStore: (clock: ManualClock) => RateLimitStore): void {
 *   for (const { name, run } of rateLimitStoreConformance(makeStore)) test(name, run);
 * }
 * ```
 */
export function rateLimitStoreConformance(
  makeStore: (clock: ManualClock) => RateLimitStore | Promise<RateLimitStore>,
  options: RateLimitConformanceSettings = {},
): ConformanceCase[] {
  const tolerance = options.toleranceMs ?? 0;
  const WINDOW_MS = options.windowMs ?? 400;
  const POLICY: WindowPolicy = { name: "suite", limit: 3, windowMs: WINDOW_MS };
  const testCase: RateLimitCase = (name, check) => {
    const clock = new ManualClock();
    const elapse = options.elapse ?? (async (ms: number) => clock.advance(ms));
    const now = options.elapse === undefined ? () => clock.monotonic() : () => performance.now();
    return caseWith(
      () => makeStore(clock),
      name,
      (store) => check(store, elapse, new StoreTimes(now, tolerance)),
    );
  };

  return [
    testCase("consume: accepts as many requests as the limit and not one more", async (store, _elapse, times) => {
      const calls: Decided<WindowOutcome>[] = [];
      for (let index = 0; index < 5; index += 1) calls.push(await times.of(() => store.consume(POLICY, "a", 1)));
      const outcomes = calls.map(({ answer }) => answer);
      assert.deepEqual(
        outcomes.map((outcome) => outcome.allowed),
        [true, true, true, false, false],
      );
      assert.deepEqual(
        outcomes.map((outcome) => outcome.used),
        [1, 2, 3, 3, 3],
      );
      assert.equal(outcomes[2]?.retryAfterMs, 0);
      const [first, , , , fifth] = calls;
      assert.ok(first && fifth);
      times.assertLeft(fifth.answer.retryAfterMs, WINDOW_MS, first, fifth);
      times.assertLeft(fifth.answer.resetMs, WINDOW_MS, first, fifth);
    }),

    testCase(
      "the window slides: a slot frees exactly when its unit leaves, not when a period ends",
      async (store, elapse, times) => {
        /** False when the machine stalled, so that a unit may have left before the store was asked about it. */
        const isShown = async (key: string): Promise<boolean> => {
          const first = await times.of(() => store.consume(POLICY, key, 1));
          await elapse(WINDOW_MS / 2);
          const second = await times.of(() => store.consume(POLICY, key, 2));
          const refused = await times.of(() => store.consume(POLICY, key, 1));
          const forTwo = await times.of(() => store.peek(POLICY, key, 2));
          if (!times.isWithin(WINDOW_MS - 1, first, forTwo)) return false;
          assert.equal(refused.answer.allowed, false);
          times.assertLeft(refused.answer.retryAfterMs, WINDOW_MS, first, refused);
          times.assertLeft(forTwo.answer.retryAfterMs, WINDOW_MS, second, forTwo);
          await elapse(refused.answer.retryAfterMs);
          assert.equal((await store.consume(POLICY, key, 1)).allowed, true);
          const last = await times.of(() => store.consume(POLICY, key, 1));
          if (!times.isWithin(WINDOW_MS - 1, second, last)) return false;
          assert.equal(last.answer.allowed, false);
          return true;
        };
        let samples = 0;
        while (!(await isShown(`a${samples}`))) assert.ok((samples += 1) < 10, "The machine stalled each time.");
      },
    ),

    testCase(
      "a refused request is not recorded: a client that keeps trying is accepted when a slot is free",
      async (store, elapse, times) => {
        const { from } = await times.of(() => store.consume(POLICY, "a", 3));
        let knocks = 0;
        while (knocks < 8 && times.now() < from + WINDOW_MS / 2) {
          assert.equal((await store.consume(POLICY, "a", 1)).allowed, false);
          await elapse(WINDOW_MS / 20);
          knocks += 1;
        }
        assert.ok(knocks > 0);
        await elapse(WINDOW_MS + tolerance);
        const outcome = await store.consume(POLICY, "a", 1);
        assert.equal(outcome.allowed, true);
        assert.equal(outcome.used, 1);
      },
    ),

    testCase("a cost is accepted as a whole or not at all", async (store) => {
      assert.equal((await store.consume(POLICY, "a", 2)).allowed, true);
      const refused = await store.consume(POLICY, "a", 2);
      assert.deepEqual([refused.allowed, refused.used], [false, 2]);
      const fits = await store.consume(POLICY, "a", 1);
      assert.deepEqual([fits.allowed, fits.used], [true, 3]);
    }),

    testCase("peek returns what consume would return, and records nothing", async (store, _elapse, times) => {
      for (let index = 0; index < 5; index += 1) assert.equal((await store.peek(POLICY, "a", 1)).allowed, true);
      const consumed = await times.of(() => store.consume(POLICY, "a", 3));
      const peeked = await times.of(() => store.peek(POLICY, "a", 1));
      assert.deepEqual([peeked.answer.allowed, peeked.answer.used], [false, 3]);
      times.assertLeft(peeked.answer.retryAfterMs, WINDOW_MS, consumed, peeked);
    }),

    testCase("an empty window has no reset time", async (store) => {
      const peeked = await store.peek(POLICY, "a", 4);
      assert.equal(peeked.resetMs, 0);
    }),

    testCase("keys and policies are counted separately, whatever their names look like", async (store) => {
      const keys = ["a", "A", "", "__proto__", "constructor", "a:b", "suite:a", "日本語", "{a}", "a b\r\n*?"];
      for (const key of keys) assert.equal((await store.consume(POLICY, key, 3)).allowed, true, key);
      for (const key of keys) assert.equal((await store.consume(POLICY, key, 1)).allowed, false, key);
      const other: WindowPolicy = { name: "other", limit: 1, windowMs: WINDOW_MS };
      assert.equal((await store.consume(other, "a", 1)).allowed, true);
      assert.equal((await store.consume(other, "a", 1)).allowed, false);
      // Name and key are not simply joined: ("a", "b:c") and ("a:b", "c") are two counts.
      assert.equal((await store.consume({ ...other, name: "x" }, "y:z", 1)).allowed, true);
      assert.equal((await store.consume({ ...other, name: "x:y" }, "z", 1)).allowed, true);
    }),

    testCase("reset clears the count of that key and no other", async (store) => {
      await store.consume(POLICY, "a", 3);
      await store.consume(POLICY, "b", 3);
      await store.reset(POLICY, "a");
      await store.reset(POLICY, "unknown");
      assert.equal((await store.consume(POLICY, "a", 1)).used, 1);
      assert.equal((await store.consume(POLICY, "b", 1)).allowed, false);
    }),

    testCase("of fifty concurrent calls exactly as many as the limit are accepted", async (store) => {
      const outcomes = await Promise.all(
        Array.from({ length: 50 }, async () => store.consume({ ...POLICY, limit: 20 }, "a", 1)),
      );
      assert.equal(outcomes.filter((outcome) => outcome.allowed).length, 20);
    }),

    ...batchCases(testCase, POLICY),

    testCase("a cost that is not a whole number of at least 0 is refused", async (store) => {
      for (const cost of [-1, 0.5, NaN, Infinity]) {
        await assert.rejects(async () => store.consume(POLICY, "a", cost), RangeError);
        await assert.rejects(
          async () => store.consumeAll?.([{ policy: POLICY, key: "a", cost }]) ?? Promise.reject(new RangeError()),
          RangeError,
        );
      }
      assert.equal((await store.peek(POLICY, "a", 1)).used, 0);
    }),

    testCase("no window has more accepted requests than the limit", async (store, elapse) => {
      // Of a call that is waited for it is known only that it was decided between two times.
      const accepted: { readonly from: number; readonly to: number }[] = [];
      let passed = 0;
      const now = (): number => (options.elapse === undefined ? passed : performance.now());
      for (let step = 0; step < 60; step += 1) {
        const from = now();
        if ((await store.consume(POLICY, "a", 1)).allowed) accepted.push({ from, to: now() });
        const pause = (((step * 37) % 90) * WINDOW_MS) / 400;
        await elapse(pause);
        passed += pause;
      }
      for (const { from } of accepted) {
        const inWindow = accepted.filter((other) => other.from >= from && other.to < from + WINDOW_MS).length;
        assert.ok(inWindow <= POLICY.limit, `${inWindow} accepted from ${from} on`);
      }
      assert.ok(accepted.length >= 10, "slots free up");
    }),
  ];
}
