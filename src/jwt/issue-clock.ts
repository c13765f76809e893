import type { Clock } from "../core/clock.js";
import type { IssueTime } from "./access/access-tokens.js";

/**
 * Orders the tokens and the revocations of each subject: after "log out everywhere, then log in" the new token must be
 * valid and the old ones revoked, in any process. A cut-off is later than every token of the subject that any process
 * has issued, if its clock is not too far ahead; a token issued after a cut-off is not earlier than it. It is a hybrid
 * logical clock.
 */
export class IssueClock {
  readonly #clock: Clock;
  readonly #aheadMs: number;
  /** The latest time that was taken; the machine's clock may have been set back since. */
  #latest = 0;
  /** The last cut-off of any subject in this process, when the store does not know the cut-offs. */
  #lastCutOff = 0;

  /**
   * @param aheadMs the clock of another process may be ahead by less than this, in milliseconds; 0 when the store does
   *   not know the cut-offs, so that a log-in in another process is not refused
   */
  constructor(clock: Clock, aheadMs: number) {
    this.#clock = clock;
    this.#aheadMs = aheadMs;
  }

  /**
   * Returns the time of a refresh. Call it before the store call, so that a revocation in between still covers the
   * token.
   */
  take(): IssueTime {
    const now = this.#clock.now();
    this.#latest = Math.max(this.#latest, Math.floor(now));
    return { now, timestamp: Math.floor(now) };
  }

  /** Returns the time of a log-in. @param cutOff the subject's latest cut-off, according to the store */
  takeAfter(cutOff = 0): IssueTime {
    const { now, timestamp } = this.take();
    return { now, timestamp: Math.max(timestamp, cutOff, this.#lastCutOff) };
  }

  /** Returns a time later than that of every token issued so far by a clock that is not too far ahead. */
  cutOff(): number {
    this.take();
    // At least one millisecond: a token may have been issued in this one.
    return Math.max(this.#latest + Math.max(this.#aheadMs, 1), this.#lastCutOff + 1);
  }

  /** Returns a time that a call made later than that of this cut-off, in any process, does not come before. */
  earliestAfter(cutOff: number): number {
    return cutOff - Math.max(this.#aheadMs, 1) + 1;
  }

  /** Applies a cut-off that the store has: tokens issued from now on are not earlier. */
  commit(cutOff: number): void {
    // Where the store knows it, the next log-in of the subject learns it there, and those of others keep their time.
    if (this.#aheadMs === 0) this.#lastCutOff = Math.max(this.#lastCutOff, cutOff);
  }
}
