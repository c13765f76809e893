import type { Clock } from "../core/clock.js";
import type { IssueTime } from "./access/access-tokens.js";

/**
 * Orders what this process issues against what it revokes by subject, when both happen in one millisecond: "log out
 * everywhere, then log in" must leave the new token good and the old ones dead. A hybrid logical clock: a cut-off comes after every
 * stamp given before it, and a stamp never comes before the last cut-off. Between processes the wall clocks decide.
 */
export class IssueClock {
  readonly #clock: Clock;
  #lastStamp = 0;
  #lastCutOff = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Take it before the store is asked: a revocation that comes in between must still catch the token. */
  take(): IssueTime {
    const now = this.#clock.now();
    const stamp = Math.max(Math.floor(now), this.#lastCutOff);
    this.#lastStamp = Math.max(this.#lastStamp, stamp);
    return { now, stamp };
  }

  /** A time later than that of every token made so far. */
  cutOff(): number {
    return Math.max(Math.floor(this.#clock.now()), this.#lastStamp + 1);
  }

  /** The cut-off holds: tokens made from now on are stamped no earlier. */
  settle(cutOff: number): void {
    this.#lastCutOff = Math.max(this.#lastCutOff, cutOff);
  }
}
