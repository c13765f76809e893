import type { Clock } from "../core/clock.js";
import type { IssueTime } from "./access/access-tokens.js";

/**
 * Orders this process's tokens and revocations by subject when both happen in the same millisecond: after "log out
 * everywhere, then log in" the new token must be valid and the old ones revoked. It is a hybrid logical clock: a
 * cut-off is later than every earlier timestamp, and a timestamp is never earlier than the last cut-off. Between
 * processes the wall clocks decide.
 */
export class IssueClock {
  readonly #clock: Clock;
  #lastTimestamp = 0;
  #lastCutOff = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Returns the issue time. Call it before the store call, so that a revocation in between still covers the token. */
  take(): IssueTime {
    const now = this.#clock.now();
    const timestamp = Math.max(Math.floor(now), this.#lastCutOff);
    this.#lastTimestamp = Math.max(this.#lastTimestamp, timestamp);
    return { now, timestamp };
  }

  /** Returns a time later than that of every token issued so far. */
  cutOff(): number {
    return Math.max(Math.floor(this.#clock.now()), this.#lastTimestamp + 1);
  }

  /** Applies the cut-off: tokens issued from now on have no earlier timestamp. */
  commit(cutOff: number): void {
    this.#lastCutOff = Math.max(this.#lastCutOff, cutOff);
  }
}
