/** How long after a failed attempt to open the next one may begin, in milliseconds. */
const RETRY_AFTER_MS = 500;

/**
 * Something that is opened once and used by many. While it cannot be opened, every caller gets the reason, and one of
 * them at a time begins another attempt: a process that started before its database comes into service by itself.
 */
export class Opening<T extends { close(): Promise<void> }> {
  readonly #open: () => Promise<T>;
  #attempt: Promise<T>;
  #opened: T | undefined;
  #failedAt: number | undefined;
  #closing: Promise<void> | undefined;

  constructor(open: () => Promise<T>) {
    this.#open = open;
    this.#attempt = this.#begin();
  }

  /** What was opened, when it is. */
  get opened(): T | undefined {
    return this.#opened;
  }

  get(): Promise<T> {
    if (this.#failedAt !== undefined && this.#closing === undefined && performance.now() - this.#failedAt >= RETRY_AFTER_MS) this.#attempt = this.#begin();
    return this.#attempt;
  }

  close(): Promise<void> {
    this.#closing ??= this.#attempt.then(
      (opened) => opened.close(),
      () => undefined,
    );
    return this.#closing;
  }

  #begin(): Promise<T> {
    this.#failedAt = undefined;
    const attempt = this.#open().then(
      (opened) => (this.#opened = opened),
      (error: unknown) => {
        this.#failedAt = performance.now();
        throw error;
      },
    );
    // Nobody may be waiting yet; those who will be get the same rejection.
    attempt.catch(() => undefined);
    return attempt;
  }
}
