import { StoreError } from "../../core/portcullis-error.js";
import { within } from "../health/timeout.js";

/** How long closing waits for an attempt that is under way, in milliseconds; what comes of it later is closed then. */
const CLOSE_MS = 1000;
/** How long after a failed attempt to open the next one may begin, in milliseconds. */
const RETRY_AFTER_MS = 500;

/**
 * Something that is opened once and used by many. While it cannot be opened, every caller gets the reason, and one of
 * them at a time begins another attempt: a process that started before its database comes into service by itself.
 */
export class LazyResource<T extends { close(): Promise<void> }> {
  readonly #open: (begun: (close: () => Promise<void>) => void) => Promise<T>;
  /** Closes what the attempt under way has opened so far, which makes it fail soon. */
  #closeBegun: (() => Promise<void>) | undefined;
  #attempt: Promise<T>;
  #opened: T | undefined;
  #failedAt: number | undefined;
  #closing: Promise<void> | undefined;

  /** @param open tells, as soon as there is something to be closed, how */
  constructor(open: (begun: (close: () => Promise<void>) => void) => Promise<T>) {
    this.#open = open;
    this.#attempt = this.#begin();
  }

  /** What was opened, when it is. */
  get opened(): T | undefined {
    return this.#opened;
  }

  get(): Promise<T> {
    // What was never used is opened by its first use, also after it was closed.
    if (this.#closing !== undefined) return Promise.reject(new StoreError("It has been closed."));
    if (this.#failedAt !== undefined && performance.now() - this.#failedAt >= RETRY_AFTER_MS)
      this.#attempt = this.#begin();
    return this.#attempt;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#opened !== undefined) return this.#opened.close();
    const ended = this.#attempt.then(
      (opened) => opened.close(),
      () => undefined,
    );
    this.#closeBegun?.().catch(() => undefined);
    await within(ended, CLOSE_MS).catch(() => undefined);
  }

  #begin(): Promise<T> {
    this.#failedAt = undefined;
    const begun = (close: () => Promise<void>): void => {
      this.#closeBegun = close;
      if (this.#closing !== undefined) close().catch(() => undefined);
    };
    const attempt = this.#open(begun).then(
      (opened) => {
        this.#closeBegun = undefined;
        return (this.#opened = opened);
      },
      (error: unknown) => {
        this.#closeBegun = undefined;
        this.#failedAt = performance.now();
        throw error;
      },
    );
    // Nobody may be waiting yet; those who will be get the same rejection.
    attempt.catch(() => undefined);
    return attempt;
  }
}
