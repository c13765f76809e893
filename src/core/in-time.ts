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
 *
 * @param keepsAlive whether the process stays for it when nothing else is left to do
 */
export function inTime<T>(work: PromiseLike<T>, ms: number, keepsAlive = true): Promise<T | typeof LATE> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => setImmediate(resolve, LATE), ms);
    if (!keepsAlive) timer.unref();
    const done = (): void => clearTimeout(timer);
    Promise.resolve(work).then(resolve, reject).finally(done);
  });
}
