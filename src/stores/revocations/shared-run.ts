import type { Clock } from "../../core/clock.js";

/** A run that takes longer than this will not finish; another may begin beside it. In milliseconds. */
const HUNG_MS = 10_000;

/** Work in progress, and when it began by the monotonic clock, in milliseconds. */
export interface Run {
  readonly done: Promise<void>;
  readonly began: number;
}

/**
 * Work that all callers share while it is in progress. Otherwise late work (a backlog of a million changes) would get
 * another run beside it each second, and all of them would be later still.
 */
export class SharedRun {
  readonly #work: () => Promise<void>;
  readonly #clock: Clock;
  #underWay: Run | undefined;

  constructor(work: () => Promise<void>, clock: Clock) {
    this.#work = work;
    this.#clock = clock;
  }

  /** Joins the run in progress, or begins one. */
  join(): Run {
    const now = this.#clock.monotonic();
    if (this.#underWay !== undefined && now - this.#underWay.began < HUNG_MS) return this.#underWay;
    const underWay = { done: this.#work(), began: now };
    this.#underWay = underWay;
    const end = (): void => {
      if (this.#underWay === underWay) this.#underWay = undefined;
    };
    underWay.done.then(end, end);
    return underWay;
  }
}
