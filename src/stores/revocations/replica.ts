import type { AccessTokenFacts } from "../contracts.js";
import type { Clock } from "../../core/clock.js";
import { isKeyNotice, type Change, type Denial, type KeyNotice } from "./changes.js";
import { Denylist, type SessionFacts } from "./denylist.js";

/** One process's local replica of the shared changes: denials in memory, and the listeners for API keys. */
export class Replica {
  readonly #clock: Clock;
  readonly #denials = new Denylist();
  readonly #listeners = new Set<(change: KeyNotice | undefined) => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  apply(changes: readonly Change[]): void {
    const now = this.#clock.now();
    for (const change of changes) {
      if (isKeyNotice(change)) this.tell(change);
      else this.#denials.deny(change, now);
    }
  }

  /**
   * Calls `listener` with each key, or owner of keys, to be read afresh; with undefined: all keys must be. Returns a
   * function that unsubscribes.
   */
  onKeyChange(listener: (change: KeyNotice | undefined) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(change: KeyNotice | undefined): void {
    for (const listener of this.#listeners) listener(change);
  }

  forgetListeners(): void {
    this.#listeners.clear();
  }

  isRevoked(token: AccessTokenFacts): boolean {
    return this.#denials.isRevoked(token);
  }

  hasEnded(session: SessionFacts): boolean {
    return this.#denials.hasEnded(session);
  }

  sessionCutOffOf(principalId: string): number | undefined {
    return this.#denials.sessionCutOffOf(principalId);
  }

  cutOffOf(subject: string): number | undefined {
    return this.#denials.cutOffOf(subject);
  }

  /** Every denial that has not ended. */
  inForce(): Denial[] {
    return this.#denials.inForce(this.#clock.now());
  }

  /** Removes the denials that ended before `now`. Returns their number. */
  deleteExpired(now: number): number {
    return this.#denials.deleteExpired(now);
  }
}
