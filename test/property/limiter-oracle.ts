import type { WindowOutcome, WindowPolicy, WindowRequest } from "../../src/stores/contracts.js";

/** The sliding-window log as one would write it on a blackboard: a list of time stamps for each key. */
export class ListOracle {
  readonly #hits = new Map<string, number[]>();

  consume(policy: WindowPolicy, key: string, cost: number, now: number): WindowOutcome {
    const live = this.live(key, policy.windowMs, now);
    const looked = lookAt(live, policy, cost, now);
    if (!looked.allowed || cost === 0) return looked;
    for (let unit = 0; unit < cost; unit += 1) live.push(now);
    this.#hits.set(key, live);
    return { allowed: true, used: live.length, retryAfterMs: 0, resetMs: (live[0] ?? NaN) + policy.windowMs - now };
  }

  peek(policy: WindowPolicy, key: string, cost: number, now: number): WindowOutcome {
    return lookAt(this.live(key, policy.windowMs, now), policy, cost, now);
  }

  /** Several limits: all are counted or none, and the same policy and key twice is one request of both costs. Keys as `keyIn` makes them. */
  consumeAll(requests: readonly WindowRequest[], now: number): WindowOutcome[] {
    const costs = new Map<string, number>();
    for (const { policy, key, cost } of requests)
      costs.set(keyIn(policy, key), (costs.get(keyIn(policy, key)) ?? 0) + cost);
    const ask = ({ policy, key }: WindowRequest, how: "peek" | "consume") =>
      this[how](policy, keyIn(policy, key), costs.get(keyIn(policy, key)) ?? NaN, now);
    const looked = requests.map((request) => ask(request, "peek"));
    if (!looked.every(({ allowed }) => allowed)) return looked;
    const recorded = new Map<string, WindowOutcome>();
    return requests.map((request) => {
      const id = keyIn(request.policy, request.key);
      const outcome = recorded.get(id) ?? ask(request, "consume");
      recorded.set(id, outcome);
      return outcome;
    });
  }

  /**
   * For a clock that was set back behind the newest hit: what is recorded moves back as far, so that time stands still between
   * that hit and now. Whether anything moved.
   */
  moveBack(key: string, windowMs: number, now: number): boolean {
    const hits = this.#hits.get(key) ?? [];
    const ahead = Math.max(...new Set(hits)) - now;
    if (!(ahead > 0)) return false;
    this.#hits.set(
      key,
      hits.map((time) => time - ahead).filter((time) => now - time < windowMs),
    );
    return true;
  }

  reset(key: string): void {
    this.#hits.delete(key);
  }

  uncountOldest(key: string, windowMs: number, now: number): void {
    const live = this.live(key, windowMs, now);
    if (live.length > 0) this.#hits.set(key, live.slice(1));
  }

  uncount(key: string, time: number): void {
    const hits = this.#hits.get(key) ?? [];
    const index = hits.indexOf(time);
    if (index >= 0) this.#hits.set(key, hits.toSpliced(index, 1));
  }

  live(key: string, windowMs: number, now: number): number[] {
    return (this.#hits.get(key) ?? []).filter((time) => now - time < windowMs);
  }

  /** The list as it stands, to be put back with `restore`. */
  snapshot(key: string): readonly number[] | undefined {
    return this.#hits.get(key);
  }

  restore(key: string, hits: readonly number[] | undefined): void {
    if (hits === undefined) this.#hits.delete(key);
    else this.#hits.set(key, [...hits]);
  }
}

function lookAt(live: readonly number[], { limit, windowMs }: WindowPolicy, cost: number, now: number): WindowOutcome {
  const used = live.length;
  const leaves = (index: number): number => (live[index] ?? NaN) + windowMs - now;
  const allowed = used + cost <= limit;
  const retryAfterMs = allowed ? 0 : cost > limit ? windowMs : leaves(used + cost - limit - 1);
  return { allowed, used, retryAfterMs, resetMs: used === 0 ? 0 : leaves(0) };
}

/** One key of the oracle for each key of each policy. */
export function keyIn({ name }: WindowPolicy, key: string): string {
  return `${name} ${key}`;
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
