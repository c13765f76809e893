/** No hash could be computed now, for want of a place in the queue or of memory: the caller should come back shortly. */
export class HashUnavailableError extends Error {
  readonly code = "PORTCULLIS_HASH_UNAVAILABLE";
  /** What Express's own error handler answers when the app passes the error on. */
  readonly status = 503;

  constructor(options?: ErrorOptions) {
    super("Too many API keys are being hashed. Try again shortly.", options);
    this.name = "HashUnavailableError";
  }
}

/**
 * Lets a few slow hashes run at once, a bounded number wait in order, and refuses the rest at once. Argon2 without such
 * a bound lets anybody fill the memory and the thread pool (keycloak/keycloak#28477). The place belongs to the job: a
 * client that hangs up frees nothing early.
 *
 * Nobody named by a tag (an address, a key id) may hold more than half of the places, so a flood from one address, or
 * on one key, leaves room for everybody else.
 */
export class HashQueue {
  readonly #concurrency: number;
  readonly #places: number;
  readonly #share: number;
  readonly #waiting: (() => void)[] = [];
  readonly #held = new Map<string, number>();
  #running = 0;

  /**
   * @param concurrency jobs at work at once
   * @param waiting jobs that may wait
   */
  constructor(concurrency: number, waiting: number) {
    this.#concurrency = concurrency;
    this.#places = concurrency + waiting;
    this.#share = Math.max(1, Math.ceil(this.#places / 2));
  }

  /** Jobs at work and waiting. */
  get size(): number {
    return this.#running + this.#waiting.length;
  }

  /** @throws HashUnavailableError (rejects with it) when there is no place */
  async run<T>(job: () => Promise<T>, tags: readonly string[] = []): Promise<T> {
    if (this.size >= this.#places || tags.some((tag) => (this.#held.get(tag) ?? 0) >= this.#share)) throw new HashUnavailableError();
    for (const tag of tags) this.#held.set(tag, (this.#held.get(tag) ?? 0) + 1);
    if (this.#running < this.#concurrency) this.#running += 1;
    // A job that ends hands its place to the next in line, so `#running` stays as it is.
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await job();
    } catch (error) {
      // What argon2 itself reports is want of memory.
      throw new HashUnavailableError({ cause: error });
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
      for (const tag of tags) this.#letGo(tag);
    }
  }

  #letGo(tag: string): void {
    const left = (this.#held.get(tag) ?? 1) - 1;
    if (left <= 0) this.#held.delete(tag);
    else this.#held.set(tag, left);
  }
}
