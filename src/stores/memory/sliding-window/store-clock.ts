import type { Clock } from "../../../core/clock.js";

/**
 * The time of a store, in microseconds since the store was created: a clock may start anywhere, and a record has room
 * for 17 years. It never goes backwards; when the clock does, it stands still.
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

  /** Reads the clock: whole microseconds, rounded down, for decisions. */
  read(): number {
    const time = this.#clock.monotonic() - this.#origin;
    if (time > this.#time) this.#time = time;
    return Math.floor(this.#time * 1000);
  }

  /** The last reading, rounded up, for records: a record never leaves its window too early. */
  get timestamp(): number {
    return Math.ceil(this.#time * 1000);
  }
}

/** Milliseconds, rounded up, until a record made at `time` has been kept for `stay`; all three in microseconds. */
export function waitUntil(time: number, stay: number, now: number): number {
  // One microsecond ahead is the same moment: records round it up and decisions round it down.
  const ahead = time - now;
  return Math.ceil((ahead === 1 ? stay : stay + ahead) / 1000);
}

/** A time, rounded up to a multiple of `tick`. */
export function roundedUp(time: number, tick: number): number {
  return Math.ceil(time / tick) * tick;
}
