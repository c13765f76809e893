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

/** What a guess is aimed at. */
export interface HashTarget {
  /** The key id. */
  readonly key: string;
  readonly owner: string;
}

/** What `run` was given, on its way through the queue. */
interface Job {
  /** Whom it is charged to: the address of a guess, the owner of a new key. */
  readonly callers: readonly string[];
  /** The key of a guess, by a name that is no caller's. */
  readonly target: string | undefined;
  /** All keys of its owner together. */
  readonly group: string | undefined;
  /** Its turn among the jobs of its callers, in rounds. */
  readonly turn: number;
  /** The round it is served in: that of its turn, or a later one, after the jobs for its target that have an earlier turn. */
  round: number;
  begin: () => void;
  refuse: (error: HashUnavailableError) => void;
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
 * Jobs are served in rounds, one of each caller and one for each target in a round (start-time fair queueing, Goyal et al.
 * 1996). Jobs for one target are ordered by the turns of their callers, so the holder of a key comes before the second
 * guess of anybody else. No caller holds more than half of the places, no target, and not all targets of one owner together;
 * when all are taken, or one of these has its half, the job of it that would be served last is refused. A round ends at the latest after as many jobs as there are
 * places, so new callers delay nobody for longer than that.
 */
export class HashQueue {
  readonly #concurrency: number;
  readonly #places: number;
  readonly #share: number;
  readonly #onFull: () => void;
  /** In the order in which they are served. */
  readonly #waiting: Job[] = [];
  /** Who holds a place, or had a job in the round that is served now. */
  readonly #parties = new Map<string, Party>();
  #round = 0;
  #begunInRound = 0;
  #running = 0;

  /**
   * @param concurrency jobs at work at once
   * @param waiting jobs that may wait
   * @param onFull called when a job is refused because all places are taken
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

  /** Parties that are remembered; at most a few for each place. */
  get parties(): number {
    return this.#parties.size;
  }

  /**
   * @param callers whom the job is charged to
   * @throws HashUnavailableError (rejects) when there is no place, or when the job lost its place to one of an earlier round
   */
  async run<T>(work: () => Promise<T>, callers: readonly string[] = [], at?: HashTarget): Promise<T> {
    if (callers.some((caller) => this.#party(caller).held >= this.#share)) throw new HashUnavailableError();
    const turn = Math.max(this.#round, ...callers.map((caller) => this.#party(caller).next));
    const target = at === undefined ? undefined : `key ${at.key}`;
    const group = at === undefined ? undefined : `keys of ${at.owner}`;
    const job: Job = { callers, target, group, turn, round: turn, begin: () => undefined, refuse: () => undefined };
    const begun = new Promise<void>((resolve, reject) => {
      job.begin = resolve;
      job.refuse = reject;
    });
    this.#add(job);
    await begun;
    try {
      return await work();
    } catch (error) {
      // What argon2 itself reports is want of memory.
      throw new HashUnavailableError({ cause: error });
    } finally {
      this.#running -= 1;
      this.#letGo(job);
      if (this.size === 0) this.#parties.clear();
      this.#beginNext();
    }
  }

  #add(job: Job): void {
    const { callers, target, group, turn } = job;
    for (const caller of callers) this.#parties.set(caller, { held: this.#party(caller).held + 1, next: turn + 1 });
    for (const tag of [target, group])
      if (tag !== undefined) this.#parties.set(tag, { ...this.#party(tag), held: this.#party(tag).held + 1 });
    this.#waiting.push(job);
    this.#arrange(target);
    if (target !== undefined && this.#party(target).held > this.#share) {
      this.#refuse(this.#waiting.findLast((other) => other.target === target));
    } else if (group !== undefined && this.#party(group).held > this.#share) {
      this.#refuse(this.#waiting.findLast((other) => other.group === group));
    } else if (this.size > this.#places) {
      this.#onFull();
      this.#refuse(this.#waiting.at(-1));
    }
    this.#beginNext();
  }

  /** Puts the waiting jobs in order, after those for one target have changed. */
  #arrange(target: string | undefined): void {
    if (target !== undefined) {
      let round = this.#party(target).next;
      for (const job of this.#waiting.filter((other) => other.target === target).sort((a, b) => a.turn - b.turn)) {
        job.round = Math.max(job.turn, round);
        round = job.round + 1;
      }
    }
    this.#waiting.sort((a, b) => a.round - b.round);
  }

  #refuse(job: Job | undefined): void {
    if (job === undefined) return;
    this.#waiting.splice(this.#waiting.indexOf(job), 1);
    for (const caller of job.callers) this.#party(caller).next -= 1;
    this.#letGo(job);
    this.#arrange(job.target);
    job.refuse(new HashUnavailableError());
  }

  #beginNext(): void {
    if (this.#running >= this.#concurrency) return;
    const job = this.#waiting.shift();
    if (job === undefined) return;
    this.#running += 1;
    if (job.target !== undefined) this.#party(job.target).next = job.round + 1;
    this.#countRound(job.round);
    job.begin();
  }

  #countRound(round: number): void {
    this.#begunInRound += 1;
    const now = this.#begunInRound < this.#places ? Math.max(this.#round, round) : Math.max(this.#round + 1, round);
    if (now === this.#round) return;
    this.#round = now;
    this.#begunInRound = 0;
    for (const tag of this.#parties.keys()) this.#forget(tag);
  }

  /** A party that is not there is in no place, and a change to it is lost. */
  #party(tag: string): Party {
    return this.#parties.get(tag) ?? { held: 0, next: 0 };
  }

  #letGo({ callers, target, group }: Job): void {
    for (const tag of [...callers, target, group]) {
      if (tag === undefined) continue;
      this.#party(tag).held -= 1;
      this.#forget(tag);
    }
  }

  /** A caller that comes back after each job would be served before the second job of others; so it is kept for its round. */
  #forget(tag: string): void {
    const { held, next } = this.#party(tag);
    if (held <= 0 && next <= this.#round) this.#parties.delete(tag);
  }
}
