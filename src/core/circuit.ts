import type { Clock } from "./clock.js";
import type { Outage } from "./outage.js";

/** Permission for one call. `admit` gives it, and the caller hands it back with the result. */
export interface Pass {
  readonly isProbe: boolean;
  /** Of which period it is: a new one begins when the circuit closes, and when it turns out that the server cannot be reached. */
  readonly generation: number;
}

/** How long after a failure one call tries again, in milliseconds: soon after the first, doubling up to the longest. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 500;

/** How many calls must be late, with no success since the first of them began, before the circuit opens. */
const LATE_IN_A_ROW = 5;

/**
 * While the server is late, at most so many probes begin within so many milliseconds. A probe that waits longer keeps nobody from
 * probing: it may be slow for a reason of its own.
 */
const LATE_PROBES = 5;
const LATE_PROBES_MS = 50;
/** How long no call is made after a late one, in milliseconds, so that a request does not wait for each of its stores in turn. */
const LATE_PAUSE_MS = 20;

/**
 * A circuit breaker. After a failure one probe at a time is made, until one succeeds. A server that is only late may be late
 * for one caller alone: then several probes may wait, and an answer to any call closes the circuit. It reports to its outage.
 */
export class Circuit {
  readonly #outage: Outage;
  readonly #clock: Clock;
  #state: "closed" | "late" | "failed" = "closed";
  /** Probes of this generation that wait. */
  #probes = 0;
  /** When the latest probes of a late server began, the oldest first. */
  #begun: number[] = [];
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
    return this.#state !== "closed";
  }

  /** How many calls have succeeded so far. A call notes it when it begins, for `late`. */
  get successes(): number {
    return this.#successes;
  }

  /** Whether a call may be made now. The caller hands its pass to `worked`, `failed`, `late` or `returned`, exactly once. */
  admit(): Pass | undefined {
    if (this.#state === "closed") return this.#usual;
    const now = this.#clock.monotonic();
    if (now < this.#nextProbe) return undefined;
    if (this.#state === "failed") {
      if (this.#probes > 0) return undefined;
    } else {
      if (this.#begun.length === LATE_PROBES && now - this.#begun[0]! < LATE_PROBES_MS) return undefined;
      this.#begun = [...this.#begun, now].slice(-LATE_PROBES);
    }
    this.#probes += 1;
    return { isProbe: true, generation: this.#usual.generation };
  }

  worked(pass: Pass): void {
    this.#successes += 1;
    this.#lateInARow = 0;
    if (this.#state !== "late" && !this.#isProbe(pass)) return;
    this.#state = "closed";
    this.#recoveredAt = this.#clock.monotonic();
    this.#beginGeneration();
    this.#outage.ended();
  }

  failed(pass: Pass, error: unknown): void {
    // A call from an earlier generation tells of what is over.
    if (pass.generation !== this.#usual.generation || (this.#state === "failed" && !pass.isProbe)) return;
    const now = this.#clock.monotonic();
    // What fails again that soon is tried less and less often, or it would be announced twenty times a second.
    const isAgain = this.#state === "failed" || (this.#state === "closed" && now - this.#recoveredAt < LONGEST_PAUSE_MS);
    this.#pauseMs = isAgain ? Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS) : FIRST_PAUSE_MS;
    this.#nextProbe = now + this.#pauseMs;
    if (this.#state === "failed") this.#probes -= 1;
    else if (this.#state === "late") this.#beginGeneration();
    else this.#outage.began(error);
    this.#state = "failed";
  }

  /**
   * The call got no answer in time. That opens the circuit only when it happens several times in a row and nobody else was
   * answered meanwhile: one slow call (a lock, a look-up that is repeated) must not refuse the calls of others.
   *
   * @param successes what `successes` was when the call began
   */
  late(pass: Pass, successes: number, error: unknown): void {
    if (this.#isProbe(pass)) {
      this.#probes -= 1;
      // It was not refused: the server may answer others.
      this.#state = "late";
    } else {
      if (this.#state !== "closed" || this.#successes !== successes) return;
      this.#lateInARow += 1;
      if (this.#lateInARow < LATE_IN_A_ROW) return;
      this.#state = "late";
      this.#outage.began(error);
    }
    // With other probes waiting there is more than one caller, and one of them must not hold up the others.
    if (this.#probes === 0) this.#nextProbe = this.#clock.monotonic() + LATE_PAUSE_MS;
  }

  /** The call was not made, or its result says nothing of what this circuit stands for. */
  returned(pass: Pass): void {
    if (this.#isProbe(pass)) this.#probes -= 1;
  }

  #isProbe(pass: Pass): boolean {
    return pass.isProbe && pass.generation === this.#usual.generation;
  }

  #beginGeneration(): void {
    this.#usual = { isProbe: false, generation: this.#usual.generation + 1 };
    this.#probes = 0;
    this.#begun = [];
  }
}
