import type { Clock } from "../core/clock.js";

/**
 * A clock that moves only when told to. `step` moves the wall clock alone, as an administrator would.
 *
 * @example
 * ```ts
 * import express from "express";
 * import { applySecurity } from "portcullis";
 * import { ManualClock } from "portcullis/testing";
 *
 * const clock = new ManualClock();
 * applySecurity(express(), { trustedHosts: ["api.example.com"] }, { clock });
 * clock.advance(60_000);
 * ```
 */
export class ManualClock implements Clock {
  #now: number;
  #monotonic = 1_000_000;

  /** @param start wall-clock time in milliseconds since the epoch; 1 January 2026 in UTC unless given */
  constructor(start = Date.UTC(2026, 0, 1)) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  /** Lets this many milliseconds pass. */
  advance(ms: number): void {
    this.#now += ms;
    this.#monotonic += ms;
  }

  /** Sets the wall clock by this many milliseconds, as an administrator would; no time passes. */
  step(ms: number): void {
    this.#now += ms;
  }
}
