// Requests as an event loop sees them: some in each turn, timers between the turns, every single one timed.
import { PerformanceObserver } from "node:perf_hooks";
import { setImmediate as nextTurn } from "node:timers/promises";
import { waited } from "./time.mjs";

const REQUESTS_A_TURN = 100;
const SUSPICIOUS_MS = 0.02;
/** Times are counted in classes, 32 to each doubling (2 % wide): a list of millions of them would itself cause stalls. */
const CLASSES = 32;

/**
 * What one stretch of requests cost, in milliseconds.
 *
 * @typedef {{ p999: number, decision: number, timer: number, between: number, collection: number }} Stalls
 */

/** While it is there, intervals that are set are timed: the clean-up of a store is one. */
export class TimedIntervals {
  #set = globalThis.setInterval;
  longest = 0;

  constructor() {
    globalThis.setInterval = (callback, ...rest) =>
      this.#set(
        () => {
          const waitedBefore = waited();
          const start = performance.now();
          callback();
          this.longest = Math.max(this.longest, performance.now() - start - (waited() - waitedBefore));
        },
        ...rest,
      );
  }

  restore() {
    globalThis.setInterval = this.#set;
  }
}

/**
 * Asks the limiter until `isDone`, which is asked before each turn.
 *
 * @returns {Promise<Stalls>}
 */
export async function stretch(limiter, keyOf, isDone, intervals) {
  const collections = [];
  const observer = new PerformanceObserver((list) =>
    collections.push(...list.getEntries().map(({ duration }) => duration)),
  );
  observer.observe({ entryTypes: ["gc"] });
  intervals.longest = 0;
  const classes = new Uint32Array(64 * CLASSES);
  let decision = 0;
  let asked = 0;
  const keys = new Array(REQUESTS_A_TURN);
  let between = 0;
  for (; !isDone(asked); asked += REQUESTS_A_TURN) {
    for (let i = 0; i < REQUESTS_A_TURN; i += 1) keys[i] = keyOf(asked + i);
    let waitedBefore = waited();
    for (let i = 0; i < REQUESTS_A_TURN; i += 1) {
      const start = performance.now();
      const answer = limiter.decide(keys[i]);
      if (answer instanceof Promise) await answer;
      let time = performance.now() - start;
      // Asking the kernel takes longer than most decisions, and those that were interrupted are long.
      if (time > SUSPICIOUS_MS) {
        const waitedAfter = waited();
        time = Math.max(0, time - (waitedAfter - waitedBefore));
        waitedBefore = waitedAfter;
      }
      classes[Math.floor(Math.log2(1 + time * 1e6) * CLASSES)] += 1;
      if (time > decision) decision = time;
    }
    waitedBefore = waited();
    const end = performance.now();
    await nextTurn();
    between = Math.max(between, performance.now() - end - (waited() - waitedBefore));
  }
  // Entries are delivered by a task of their own.
  await new Promise((resolve) => setTimeout(resolve, 20));
  observer.disconnect();
  return {
    p999: quantile(classes, asked * 0.999),
    decision,
    timer: intervals.longest,
    between,
    collection: Math.max(0, ...collections),
  };
}

/** The time that so many stay below, in milliseconds. */
function quantile(classes, count) {
  let seen = 0;
  const at = classes.findIndex((inClass) => (seen += inClass) >= count);
  return (2 ** ((at + 1) / CLASSES) - 1) / 1e6;
}
