import { PortcullisError } from "../../core/portcullis-error.js";

/** A call got no answer within its time. */
export class LateAnswerError extends PortcullisError {
  readonly code = "ETIMEDOUT";

  /** @param ms the time limit of the call, in milliseconds */
  constructor(ms: number) {
    super(`no response within ${ms} ms`);
    this.name = "LateAnswerError";
  }
}

/** Settings of one `withTimeout`. The callbacks must not throw. */
export interface TimeoutSettings<T> {
  /**
   * Called when the time is over. Returns the error to reject with, or how many more milliseconds the work gets.
   * Default: a `LateAnswerError`.
   */
  readonly onTimeout?: () => Error | number;
  /** Gets a result that arrives after the rejection, for example to release it. Default: the result is dropped. */
  readonly onLate?: (value: T) => void;
  /** Whether the wait keeps the process alive. Default: true. */
  readonly keepsAlive?: boolean;
}

/**
 * Rejects when `work` takes longer than `ms` milliseconds. The work goes on: its late result is passed to `onLate`, and
 * its late rejection is ignored. No rejection of `work` is ever unhandled.
 */
export function withTimeout<T>(
  work: PromiseLike<T>,
  ms: number,
  { onTimeout, onLate, keepsAlive = true }: TimeoutSettings<T> = {},
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let state: "waiting" | "settled" | "late" = "waiting";
    let timer: NodeJS.Timeout;
    const wait = (forMs: number): void => {
      // If this process was busy for that long, the answer may be unread in the socket. Node runs timers before it
      // reads sockets, and `setImmediate` after, so a busy process does not attribute its own delay to the work.
      timer = setTimeout(() => setImmediate(timeIsOver), forMs);
      if (!keepsAlive) timer.unref();
    };
    const timeIsOver = (): void => {
      if (state !== "waiting") return;
      const next = onTimeout?.() ?? new LateAnswerError(ms);
      if (typeof next === "number") return wait(next);
      state = "late";
      reject(next);
    };
    wait(ms);
    work.then(
      (value) => {
        if (state === "late") return onLate?.(value);
        state = "settled";
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        if (state === "late") return;
        state = "settled";
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
