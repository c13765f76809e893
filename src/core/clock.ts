/** Source of time. It is a parameter, so that tests can advance it without fake timers. */
export interface Clock {
  /** Wall-clock time in milliseconds since the epoch; may step when the machine's clock is set. */
  now(): number;
  /** Milliseconds from an arbitrary origin that never go backwards. Windows are measured with it. */
  monotonic(): number;
}

/** The machine's own clocks. */
export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  monotonic: () => performance.now(),
});
