/** What `inTime` resolves with when the work took too long. */
export const LATE = Symbol("late");

/** Whether a value that a function of the app returned is a promise, of whatever library. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === "object" && value !== null && typeof (value as Partial<PromiseLike<unknown>>).then === "function"
  );
}

/**
 * Waits for the work of a function of the app. When it takes longer than `ms` milliseconds, its result or rejection is
 * ignored. A process that was busy for that long reads the answers that have arrived meanwhile before it gives up.
 */
export function inTime<T>(work: PromiseLike<T>, ms: number): Promise<T | typeof LATE> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => setImmediate(resolve, LATE), ms);
    const done = (): void => clearTimeout(timer);
    Promise.resolve(work).then(resolve, reject).finally(done);
  });
}
