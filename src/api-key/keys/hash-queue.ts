import { PortcullisError } from "../../core/portcullis-error.js";

/** A hash could not be computed because the queue is full or memory is short: the caller should retry shortly. */
export class HashUnavailableError extends PortcullisError {
  readonly code = "PORTCULLIS_HASH_UNAVAILABLE";
  /** Status that Express's own error handler responds with when the app forwards the error. */
  readonly status = 503;

  constructor(options?: { readonly cause?: unknown }) {
    super("Too many passwords or API keys are being hashed. Try again shortly.", options);
    this.name = "HashUnavailableError";
  }
}

/** The key, or the account, that a guess is for. */
export interface HashTarget {
  /** The key id. */
  readonly key: string;
  readonly owner: string;
}

/** A queued job. */
interface Job {
  /** The parties it is charged to: the address of a guess, the owner of a new key. */
  readonly callers: readonly string[];
  /** The key that is guessed, with a prefix that distinguishes it from callers. */
  readonly target: string | undefined;
  /** The owner of that key, for all of the owner's keys together. */
  readonly group: string | undefined;
  /** Its turn among the jobs of its callers, in rounds. */
  readonly turn: number;
  /** The round in which it runs: its turn, or a later one if jobs for the same target have an earlier turn. */
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
 * Runs a few slow hashes at once, queues a bounded number, and refuses the rest immediately. Without such a bound,
 * Argon2 lets any client exhaust the memory and the thread pool (keycloak/keycloak#28477). The place belongs to the
 * job: a client that disconnects does not free it early.
 *
 * Jobs run in rounds, with one job per caller and one per target in each round (start-time fair queueing, Goyal et al.
 * 1996). Jobs for one target are ordered by the turns of their callers, so the owner of a key runs before the second
 * guess of any other client. A caller, a target, or all targets of one owner together can have at most half of the
 * places. When all places are taken, the job that would run last is refused; when one of these has its half, its own
 * last job is refused. A round ends after at most as many jobs as there are places, so new callers delay a job no
 * longer than that.
 */
export class HashQueue {
  readonly #concurrency: number;
  readonly #places: number;
  readonly #share: number;
  readonly #onFull: () => void;
  /** In the order in which they will run. */
  readonly #waiting: Job[] = [];
  /** Parties that have a job in the queue, or had one in the current round. */
  readonly #parties = new Map<string, Party>();
  #round = 0;
  #begunInRound = 0;
  #running = 0;

  /**
   * @param concurrency number of jobs that run at once
   * @param waiting number of jobs that may wait
   * @param onFull called when a job is refused because all places are taken
   */
  constructor(concurrency: number, waiting: number, onFull: () => void = () => undefined) {
    this.#concurrency = concurrency;
    this.#places = concurrency + waiting;
    this.#share = Math.max(1, Math.ceil(this.#places / 2));
    this.#onFull = onFull;
  }

  /** Number of jobs running and waiting. */
  get size(): number {
    return this.#running + this.#waiting.length;
  }

  /** Number of parties that are tracked; at most a few for each place. */
  get parties(): number {
    return this.#parties.size;
  }

  /**
   * @param callers the parties that the job is charged to
   * @throws HashUnavailableError (rejects) when there is no place, or when a job of an earlier round took this job's
   * place
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
      // argon2 itself fails only when it runs out of memory.
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

  /** Sorts the waiting jobs after the jobs for one target have changed. */
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

  /** Returns a party. An unknown party has no places, and changes to the returned object are discarded. */
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

  /**
   * Removes a party that has no job and whose round is over. Earlier removal would let a returning caller run before
   * the second job of others.
   */
  #forget(tag: string): void {
    const { held, next } = this.#party(tag);
    if (held <= 0 && next <= this.#round) this.#parties.delete(tag);
  }
}
