import type { Clock } from "../../core/clock.js";
import type { Outage } from "./outage.js";

/** Leave to call, given by `admit` and handed back with the result. */
export interface Pass {
  readonly isProbe: boolean;
  /** Between which two recoveries the call began. */
  readonly generation: number;
}

/** How long after a failure one call tries again, in milliseconds: soon after the first, doubling up to the longest. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 500;

/** How many calls must be late, with no success since the first of them began, before the circuit opens. */
const LATE_IN_A_ROW = 5;

/**
 * A circuit breaker: after a failure calls are not made, save one probe at a time, until a probe succeeds. What it is told
 * of, it tells the outage it belongs to.
 */
export class Circuit {
  readonly #outage: Outage;
  readonly #clock: Clock;
  #isDown = false;
  #isProbing = false;
  #pauseMs = FIRST_PAUSE_MS;
  #nextProbe = 0;
  #recoveredAt = -Infinity;
  #usual: Pass = { isProbe: false, generation: 0 };
  #successes = 0;
  #lateInARow = 0;

  constructor(outage: Outage, clock: Clock) {
    this.#outage = outage;
    this.#clock = clock;
  }

  get isDown(): boolean {
    return this.#isDown;
  }

  /** How many calls have succeeded so far. A call notes it when it begins, for `late`. */
  get successes(): number {
    return this.#successes;
  }

  /** Whether a call may be made now. Whoever got a pass hands it to `worked`, `failed` or `returned`, exactly once. */
  admit(): Pass | undefined {
    if (!this.#isDown) return this.#usual;
    if (this.#isProbing || this.#clock.monotonic() < this.#nextProbe) return undefined;
    this.#isProbing = true;
    return { isProbe: true, generation: this.#usual.generation };
  }

  worked(pass: Pass): void {
    this.#successes += 1;
    this.#lateInARow = 0;
    if (!pass.isProbe) return;
    this.#isProbing = false;
    this.#isDown = false;
    this.#recoveredAt = this.#clock.monotonic();
    this.#usual = { isProbe: false, generation: pass.generation + 1 };
    this.#outage.ended();
  }

  failed(pass: Pass, error: unknown): void {
    const now = this.#clock.monotonic();
    const longer = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    if (pass.isProbe) {
      this.#isProbing = false;
      this.#pauseMs = longer;
    } else {
      // A call from before the last recovery tells of the outage that is over.
      if (this.#isDown || pass.generation !== this.#usual.generation) return;
      this.#isDown = true;
      // What fails again that soon is tried less and less often, or it would be announced twenty times a second.
      this.#pauseMs = now - this.#recoveredAt < LONGEST_PAUSE_MS ? longer : FIRST_PAUSE_MS;
      this.#outage.began(error);
    }
    this.#nextProbe = now + this.#pauseMs;
  }

  /**
   * The call got no answer in time. That opens the circuit only when it happens several times in a row and nobody else was
   * answered meanwhile: one slow call (a lock, a look-up that is repeated) must not refuse the calls of others.
   *
   * @param successes what `successes` was when the call began
   */
  late(pass: Pass, successes: number, error: unknown): void {
    if (pass.isProbe) return this.failed(pass, error);
    if (this.#successes !== successes) return;
    this.#lateInARow += 1;
    if (this.#lateInARow >= LATE_IN_A_ROW) this.failed(pass, error);
  }

  /** The call was not made, or its result says nothing of what this circuit stands for. */
  returned(pass: Pass): void {
    if (pass.isProbe) this.#isProbing = false;
  }
}
