import { LateAnswerError } from "./health/timeout.js";

/** Rejects after `ms`. What comes of the promise later is not used; nothing is left unhandled. */
export function within<T>(answer: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new LateAnswerError(ms)), ms);
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
