import { mapMaybe, type MaybePromise } from "../core/maybe-promise.js";
import type { Runtime } from "../core/runtime.js";
import type { RateLimitStore, WindowPolicy } from "../stores/contracts.js";
import { SlidingWindowStore } from "../stores/memory/sliding-window/store.js";
import { guardFor } from "./consume.js";

/** Units that a request has taken. */
export interface Taken {
  readonly policy: WindowPolicy;
  readonly key: string;
  readonly units: number;
  /** The store that has recorded them. */
  readonly counter: object | undefined;
  /** Names the units in that store; `undefined` when they were not recorded, or were taken back. */
  recordedAt: number | string | undefined;
}

/**
 * Takes units back, once, in the store that has recorded them. Resolves with whether any were: not after their window,
 * a reset or a loss of the store. Rejects when the store does not answer; the units count until they leave the window.
 */
export function takeBack(taken: Taken, runtime: Runtime, timeoutMs: number): MaybePromise<boolean> {
  const { policy, key, units, recordedAt } = taken;
  const counter = taken.counter as RateLimitStore | undefined;
  if (counter?.refund === undefined || recordedAt === undefined) return false;
  taken.recordedAt = undefined;
  if (counter instanceof SlidingWindowStore) return counter.refund(policy, key, units, recordedAt) > 0;
  const answer = guardFor(counter, runtime, timeoutMs).run(() => counter.refund?.(policy, key, units, recordedAt) ?? 0);
  return mapMaybe(answer, (back) => back > 0);
}

/** Takes units back without waiting. When the store does not answer, its guard has announced it. */
export function takeBackSoon(taken: readonly Taken[], runtime: Runtime, timeoutMs: number): void {
  for (const one of taken) {
    try {
      const answer = takeBack(one, runtime, timeoutMs);
      if (answer instanceof Promise) answer.catch(() => undefined);
    } catch {
      // As for a rejection.
    }
  }
}
