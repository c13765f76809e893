import { BoundedCache } from "../core/bounded-cache.js";
import type { Clock } from "../core/clock.js";
import type { IssueTime } from "./access/access-tokens.js";

/** Number of subjects whose latest cut-off by this process is known without the store. */
const KNOWN_SUBJECTS = 10_000;

/**
 * Orders tokens and revocations by subject: after "log out everywhere, then log in" the new token must be valid and the
 * old ones revoked, in any process. A cut-off is later than every token of its subject issued so far, also by a process
 * whose clock is ahead; a token issued after a cut-off is not earlier than it. It is a hybrid logical clock for each
 * subject.
 */
export class IssueClock {
  readonly #clock: Clock;
  readonly #aheadMs: number;
  readonly #cutOffs = new BoundedCache<number>({ max: KNOWN_SUBJECTS });
  /** The latest time that was taken; the machine's clock may have been set back since. */
  #latest = 0;

  /** @param aheadMs by how much the clock of another process may be ahead, in milliseconds */
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

  /** Returns the time of a log-in, not before a cut-off. @param known the subject's latest one, according to the store */
  takeAfter(subject: string, known = 0): IssueTime {
    const { now, timestamp } = this.take();
    return { now, timestamp: Math.max(timestamp, known, this.#cutOffs.get(subject) ?? 0) };
  }

  /**
   * Returns a time later than that of every token of the subject issued so far.
   *
   * @param known the subject's latest cut-off, according to the store
   */
  cutOff(subject: string, known = 0): number {
    this.take();
    return Math.max(
      // At least 1: a token may have been issued in this millisecond.
      this.#latest + Math.max(this.#aheadMs, 1),
      known + 1,
      (this.#cutOffs.get(subject) ?? 0) + 1,
    );
  }

  /** Applies the cut-off: tokens of the subject issued from now on are not earlier. */
  commit(subject: string, cutOff: number): void {
    this.#cutOffs.set(subject, Math.max(cutOff, this.#cutOffs.get(subject) ?? 0));
  }
}
