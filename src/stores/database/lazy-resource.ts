import { StoreError } from "../../core/portcullis-error.js";
import { within } from "../health/timeout.js";

/** How long closing waits for an attempt in progress, in milliseconds. A resource that opens later is closed then. */
const CLOSE_MS = 1000;
/** Minimum time between a failed attempt to open and the next one, in milliseconds. */
const RETRY_AFTER_MS = 500;

/**
 * A resource that is opened once and shared. While it cannot be opened, every caller gets the reason, and one caller at
 * a time starts another attempt: a process that started before its database recovers by itself.
 */
export class LazyResource<T extends { close(): Promise<void> }> {
  readonly #open: (begun: (close: () => Promise<void>) => void) => Promise<T>;
  /** Closes what the attempt in progress has opened so far, which makes the attempt fail soon. */
  #closeBegun: (() => Promise<void>) | undefined;
  #attempt: Promise<T>;
  #opened: T | undefined;
  #failedAt: number | undefined;
  #closing: Promise<void> | undefined;

  /** @param open calls `begun` with a close function as soon as there is something to close */
  constructor(open: (begun: (close: () => Promise<void>) => void) => Promise<T>) {
    this.#open = open;
    this.#attempt = this.#begin();
  }

  /** The resource, once it is open. */
  get opened(): T | undefined {
    return this.#opened;
  }

  get(): Promise<T> {
    // A resource that was never used is opened by its first use, even after `close`.
    if (this.#closing !== undefined) return Promise.reject(new StoreError("The database has been closed."));
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
    // There may be no caller waiting yet; later callers get the same rejection.
    attempt.catch(() => undefined);
    return attempt;
  }
}
