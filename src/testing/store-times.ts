import assert from "node:assert/strict";

/** The answer of a store, and two times between which the store made it. */
export interface Decided<Answer> {
  readonly answer: Answer;
  readonly from: number;
  readonly to: number;
}

/** Checks the times in a store's answers. All times are in milliseconds. */
export class StoreTimes {
  /**
   * @param now the time by which the store's windows move
   * @param toleranceMs how far the clock of the store may differ from it
   */
  constructor(
    readonly now: () => number,
    private readonly toleranceMs: number,
  ) {}

  /** Calls the store. */
  async of<Answer>(call: () => Answer | Promise<Answer>): Promise<Decided<Answer>> {
    const from = this.now();
    const answer = await call();
    return { answer, from, to: this.now() };
  }

  /** Whether the store decided the second call less than `ms` milliseconds after the first, by its own clock too. */
  isWithin(ms: number, first: Decided<unknown>, second: Decided<unknown>): boolean {
    return second.to - first.from < ms - this.toleranceMs;
  }

  /** Checks that `actual` is what is left of a window that began with the first call, when the store decided the second. */
  assertLeft(actual: number, windowMs: number, began: Decided<unknown>, decided: Decided<unknown>): void {
    const least = windowMs - (decided.to - began.from) - this.toleranceMs;
    const most = windowMs - (decided.from - began.to) + this.toleranceMs;
    assert.ok(least <= actual && actual <= most, `${actual} ms is not between ${least} and ${most} ms`);
  }
}
