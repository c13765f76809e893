import type { Clock } from "../../../core/clock.js";

/**
 * The time of a store, in microseconds since it was made: a clock may begin anywhere, and a record has room for 17 years.
 * It never goes backwards; when the clock does, it stands still.
 */
export class WindowTime {
  readonly #clock: Clock;
  readonly #origin: number;
  /** The newest time read, in milliseconds. */
  #time = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#origin = clock.monotonic();
  }

  /** Reads the clock: whole microseconds, rounded down, as a decision takes them for now. */
  read(): number {
    const time = this.#clock.monotonic() - this.#origin;
    if (time > this.#time) this.#time = time;
    return Math.floor(this.#time * 1000);
  }

  /** What was read last, rounded up, as a record has it: it leaves the window not a moment too early. */
  get stamp(): number {
    return Math.ceil(this.#time * 1000);
  }
}
