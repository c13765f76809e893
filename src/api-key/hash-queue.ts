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

interface Waiter {
  /** When its turn is, in rounds: the number of jobs before it of the party that has most. */
  readonly round: number;
  readonly begin: () => void;
  readonly refuse: (error: HashUnavailableError) => void;
}

interface Party {
  held: number;
  /** The round of its next job. */
  next: number;
}

/**
 * Lets a few slow hashes run at once, a bounded number wait, and refuses the rest at once. Argon2 without such a bound lets
 * anybody fill the memory and the thread pool (keycloak/keycloak#28477). The place belongs to the job: a client that hangs
 * up frees nothing early.
 *
 * The parties of a job are its tags: the address, the key id and its owner for a guess, the owner for a new key. Jobs are served in
 * rounds, one of each party in a round (start-time fair queueing, Goyal et al. 1996), and a job counts as the party of its
 * that has most. No party holds more than half of the places; and when all are taken, a job of an earlier round takes the
 * place of the last one of a later round. So many parties that fill the queue together leave room for another one.
 */
export class HashQueue {
  readonly #concurrency: number;
  readonly #places: number;
  readonly #share: number;
  readonly #onFull: () => void;
  readonly #waiting: Waiter[] = [];
  readonly #parties = new Map<string, Party>();
  #round = 0;
  #running = 0;

  /**
   * @param concurrency jobs at work at once
   * @param waiting jobs that may wait
   * @param onFull told when a job is refused because all places are taken
   */
  constructor(concurrency: number, waiting: number, onFull: () => void = () => undefined) {
    this.#concurrency = concurrency;
    this.#places = concurrency + waiting;
    this.#share = Math.max(1, Math.ceil(this.#places / 2));
    this.#onFull = onFull;
  }

  /** Jobs at work and waiting. */
  get size(): number {
    return this.#running + this.#waiting.length;
  }

  /** @throws HashUnavailableError (rejects with it) when there is no place, or the place went to a job of an earlier round */
  async run<T>(job: () => Promise<T>, tags: readonly string[] = []): Promise<T> {
    if (tags.some((tag) => (this.#parties.get(tag)?.held ?? 0) >= this.#share)) throw new HashUnavailableError();
    const round = Math.max(this.#round, ...tags.map((tag) => this.#parties.get(tag)?.next ?? 0));
    if (this.size >= this.#places) {
      this.#onFull();
      if (!this.#refuseLaterThan(round)) throw new HashUnavailableError();
    }
    for (const tag of tags) this.#parties.set(tag, { held: (this.#parties.get(tag)?.held ?? 0) + 1, next: round + 1 });
    try {
      await this.#turn(round);
      return await this.#work(job);
    } finally {
      for (const tag of tags) this.#letGo(tag);
    }
  }

  async #work<T>(job: () => Promise<T>): Promise<T> {
    try {
      return await job();
    } catch (error) {
      // What argon2 itself reports is want of memory.
      throw new HashUnavailableError({ cause: error });
    } finally {
      this.#running -= 1;
      this.#beginNext();
    }
  }

  /** Resolves when the job may begin; it counts as running from then on. */
  async #turn(round: number): Promise<void> {
    if (this.#running < this.#concurrency) {
      this.#running += 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const waiter = { round, begin: resolve, refuse: reject };
      const after = this.#waiting.findIndex((other) => other.round > round);
      this.#waiting.splice(after === -1 ? this.#waiting.length : after, 0, waiter);
    });
  }

  #beginNext(): void {
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#round = next.round;
    this.#running += 1;
    next.begin();
  }

  /** Frees the place of the last waiting job, when its round is a later one. */
  #refuseLaterThan(round: number): boolean {
    const last = this.#waiting.at(-1);
    if (last === undefined || last.round <= round) return false;
    this.#waiting.pop();
    last.refuse(new HashUnavailableError());
    return true;
  }

  #letGo(tag: string): void {
    const party = this.#parties.get(tag);
    if (party === undefined) return;
    party.held -= 1;
    if (party.held <= 0) this.#parties.delete(tag);
  }
}
