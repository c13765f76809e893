/** A value that is available now, or a promise of it. In-memory stores answer at once and should not cost a tick. */
export type MaybePromise<T> = T | Promise<T>;

/** Calls `next` with the value, synchronously when it is available. */
export function mapMaybe<T, U>(answer: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return answer instanceof Promise ? answer.then(next) : next(answer);
}

/** All values, without a promise when each is available. */
export function allOf<T>(answers: readonly MaybePromise<T>[]): MaybePromise<readonly T[]> {
  if (!answers.some((answer) => answer instanceof Promise)) return answers as readonly T[];
  return Promise.all(answers.map(async (answer) => answer));
}

/** Starts something, and calls `onError` when it throws or rejects. */
export function orElse<T>(start: () => MaybePromise<T>, onError: (error: unknown) => T): MaybePromise<T> {
  try {
    const answer = start();
    return answer instanceof Promise ? answer.catch(onError) : answer;
  } catch (error) {
    return onError(error);
  }
}

/** Starts something that may throw, reject or answer at once, and calls exactly one of the two. */
export function resolveMaybe<T>(
  start: () => MaybePromise<T>,
  onValue: (value: T) => void,
  onError: (error: unknown) => void,
): void {
  let answer: MaybePromise<T>;
  try {
    answer = start();
  } catch (error) {
    onError(error);
    return;
  }
  if (answer instanceof Promise) void answer.then(onValue, onError);
  else onValue(answer);
}

/** Turns a callback-style call into a value, or into a promise when the callback is asynchronous. */
export function fromCallback<T>(
  start: (done: (error?: unknown, value?: T) => void) => void,
): MaybePromise<T | undefined> {
  let finish: ((error: unknown, value: T | undefined) => void) | undefined;
  let early: { error: unknown; value: T | undefined } | undefined;
  start((error, value) => {
    if (finish === undefined) early ??= { error, value };
    else finish(error, value);
  });
  if (early !== undefined) {
    if (early.error != null) throw asError(early.error);
    return early.value;
  }
  return new Promise((resolve, reject) => {
    finish = (error, value) => (error == null ? resolve(value) : reject(error));
  });
}

/** Stores are third-party code and may fail with any value. */
function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error("the store answered with an error", { cause: error });
}
