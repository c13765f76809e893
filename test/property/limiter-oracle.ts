import type { WindowOutcome, WindowPolicy } from "../../src/stores/contracts.js";

/** The sliding-window log as one would write it on a blackboard: a list of time stamps for each key. */
export class ListOracle {
  readonly #hits = new Map<string, number[]>();

  consume({ limit, windowMs }: WindowPolicy, key: string, cost: number, now: number): WindowOutcome {
    const live = this.live(key, windowMs, now);
    const allowed = live.length + cost <= limit;
    if (allowed) {
      for (let unit = 0; unit < cost; unit += 1) live.push(now);
      this.#hits.set(key, live);
    }
    const used = live.length;
    const leaves = (index: number): number => (live[index] ?? NaN) + windowMs - now;
    const retryAfterMs = allowed ? 0 : cost > limit ? windowMs : leaves(used + cost - limit - 1);
    return { allowed, used, retryAfterMs, resetMs: used === 0 ? 0 : leaves(0) };
  }

  reset(key: string): void {
    this.#hits.delete(key);
  }

  uncountOldest(key: string, windowMs: number, now: number): void {
    this.#hits.set(key, this.live(key, windowMs, now).slice(1));
  }

  uncount(key: string, time: number): void {
    const hits = this.#hits.get(key) ?? [];
    const index = hits.indexOf(time);
    if (index >= 0) this.#hits.set(key, hits.toSpliced(index, 1));
  }

  live(key: string, windowMs: number, now: number): number[] {
    return (this.#hits.get(key) ?? []).filter((time) => now - time < windowMs);
  }
}

/** The most units accepted in any window of that length: a window that ends with each of them, both ends looked at. */
export function mostInAnyWindow(times: readonly number[], windowMs: number): number {
  let most = 0;
  let from = 0;
  times.forEach((time, index) => {
    while (time - (times[from] ?? time) >= windowMs) from += 1;
    most = Math.max(most, index - from + 1);
  });
  return most;
}
