import type { SessionStore } from "../stores/contracts.js";
import { AskedSessionStore, type SessionTestCase } from "./asked-session-store.js";
import { caseWith, type ConformanceCase } from "./conformance.js";
import { ManualClock } from "./manual-clock.js";
import { dataCases } from "./session-data-cases.js";
import { endingCases, principalCases } from "./session-ending-cases.js";

/** How the suite treats a store with a clock of its own. */
export interface SessionConformanceSettings {
  /** Lets this much time pass for the store, in milliseconds. Moves the clock given to `makeStore` unless set. */
  readonly elapse?: (ms: number) => Promise<void>;
  /** The finest time the store measures lives by, in milliseconds (default 1). A session may live that much longer. */
  readonly grainMs?: number;
  /** How many sessions of one principal the store made by `makeStore` keeps at most (default 1000). */
  readonly maxPerPrincipal?: number;
}

type ClosableStore = SessionStore & { close(): void | Promise<void> };

/**
 * The checks of a `SessionStore`, for any test runner: sessions that come back as saved, end at their time, and stay ended
 * whatever else is under way.
 *
 * @param makeStore gives an empty store that takes the time from the clock it is given
 *
 * @example
 * ```ts
 * import { test } from "node:test";
 * import { MemorySessionStore } from "portcullis";
 * import { sessionStoreConformance } from "portcullis/testing";
 *
 * for (const { name, run } of sessionStoreConformance((clock) => new MemorySessionStore({ clock }))) test(name, run);
 * ```
 */
export function sessionStoreConformance(
  makeStore: (clock: ManualClock) => ClosableStore | Promise<ClosableStore>,
  options: SessionConformanceSettings = {},
): ConformanceCase[] {
  const grain = options.grainMs ?? 1;
  const testCase: SessionTestCase = (name, check) => {
    const clock = new ManualClock();
    const elapse = async (ms: number): Promise<void> => {
      clock.advance(ms);
      await options.elapse?.(ms);
    };
    return caseWith(
      () => makeStore(clock),
      name,
      (store) => check(new AskedSessionStore(store, clock), elapse),
    );
  };
  return [
    ...dataCases(testCase, grain),
    ...endingCases(testCase),
    ...principalCases(testCase, grain, options.maxPerPrincipal ?? 1000),
  ];
}
