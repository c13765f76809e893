import type { Store } from "express-session";
import { ask, type Answer, type Question } from "./ask.js";
import { newOperation, type Operation, within } from "./context.js";
import { drawFault, drawRedisFault, FaultCounts } from "./faults.js";
import { lastWait, publish } from "./pg.js";
import { publish as publishRedis } from "./redis.js";
import { RedisServer } from "./redis-server.js";
import { PostgresServer } from "./postgres-server.js";
import { CLOCKS_APART_MS, LIMIT, PLACES, type SimulatedProcess, startProcess } from "./process.js";
import { Random } from "./random.js";
import { FileSessionStore } from "./file-session-store.js";
import { SharedSessionStore } from "./shared-session-store.js";
import { pause, virtualNow } from "./virtual-time.js";

/**
 * - `calm`: two processes on one database that answers everybody; only hostile callers make trouble.
 * - `storm`: the same, and the database and the network fail.
 * - `memory`: one process that keeps everything in memory.
 */
export type Weather = "calm" | "storm" | "memory";

/** One request and its answer, as the caller saw it. */
export interface Exchange {
  readonly actor: string;
  readonly step: string;
  readonly process: string;
  readonly client: string;
  readonly began: number;
  readonly ended: number;
  readonly answer: Answer;
  readonly operation: Operation;
  /** Somebody waited for a connection of this process's pool meanwhile: a shared resource was full. */
  readonly wasFull: boolean;
}

/** What processes that have a database share besides. */
export interface Shared {
  /** Where their sessions are: in a store of express-session's plain contract, or in one of the library's. */
  readonly sessions: "files" | "shared";
  /** Whether limits and revocations are in Redis, and sessions that are not in files. */
  readonly redis: boolean;
}

const FAULTS_IN_A_STORM = 0.25;
const REDIS_FAULTS_IN_A_STORM = 0.25;
/** How long a process that is replaced goes on with the requests it has, in milliseconds. */
const LEAVE_MS = 6000;

export class World {
  readonly seed: number;
  readonly weather: Weather;
  readonly faults = new FaultCounts();
  readonly exchanges: Exchange[] = [];
  readonly violations: string[] = [];
  readonly processes: SimulatedProcess[] = [];
  readonly server: PostgresServer | undefined;
  readonly redis: RedisServer | undefined;
  readonly files = new FileSessionStore(this.faults);
  /** Where the sessions of processes that share a database are. */
  readonly sessions: "files" | "shared";
  readonly #sessionStore: Store | undefined;
  readonly #unpublish: (() => void)[] = [];
  readonly #all: SimulatedProcess[] = [];
  #lives = 0;

  constructor(seed: number, weather: Weather, { sessions, redis }: Shared) {
    this.seed = seed;
    this.weather = weather;
    this.sessions = sessions;
    this.#sessionStore = sessions === "files" ? this.files : redis ? undefined : new SharedSessionStore();
    if (weather === "memory") return;
    this.server = new PostgresServer(this.faults);
    this.#unpublish.push(publish("db.test", this.server));
    if (!redis) return;
    this.redis = new RedisServer(this.faults, new Random(`${seed}/redis/clock`).between(0, CLOCKS_APART_MS));
    this.#unpublish.push(publishRedis("redis.test", this.redis));
  }

  async open(): Promise<void> {
    const count = this.weather === "memory" ? 1 : 2;
    for (let at = 0; at < count; at += 1) this.processes.push(await this.#start());
  }

  async #start(): Promise<SimulatedProcess> {
    const name = `process-${(this.#lives += 1)}`;
    const database = this.server === undefined ? undefined : `postgres://${name}@db.test/app`;
    const started = await startProcess({
      name,
      seed: this.seed,
      database,
      redis: this.redis === undefined ? undefined : `redis://${name}@redis.test`,
      sessions: this.server === undefined ? undefined : this.#sessionStore,
    });
    this.#all.push(started);
    return started;
  }

  /** Another process takes the place of this one, as in a deployment. */
  async replaceProcess(at: number): Promise<void> {
    const started = await this.#startWithStores();
    const old = this.processes[at];
    this.processes[at] = started;
    this.faults.add("process-restart");
    await pause(LEAVE_MS);
    await old?.close();
  }

  /** Starts when the stores are there. When one fails meanwhile, another start follows, as of a supervisor. */
  async #startWithStores(): Promise<SimulatedProcess> {
    for (;;) {
      await pause(Math.max(0, this.troubleUntil - virtualNow()) + 100);
      const began = virtualNow();
      try {
        return await this.#start();
      } catch (error) {
        if (this.troubleUntil < began) throw error;
      }
    }
  }

  async close(): Promise<void> {
    for (const process of this.#all) await process.close();
    for (const unpublish of this.#unpublish) unpublish();
    this.server?.close();
  }

  /** When something last went wrong for everybody. */
  get troubleUntil(): number {
    return Math.max(-1, this.server?.troubleUntil ?? -1, this.redis?.troubleUntil ?? -1);
  }

  get outages(): readonly { readonly at: number; readonly source: string }[] {
    return this.#all.flatMap(({ outages }) => outages);
  }

  /** @param client who the client is, however its address is written in the question */
  async ask(id: string, step: string, at: number, question: Question, client = question.address): Promise<Exchange> {
    const process = this.processes[at % this.processes.length];
    if (process === undefined) throw new Error("There is no process.");
    const operation = newOperation(id, this.seed, this.weather === "storm" ? this.#faultsOf(id) : {});
    const began = virtualNow();
    const answer = await within(operation, () => ask(process.app, question));
    const wasFull = process.database !== undefined && lastWait(process.database) >= began;
    const exchange: Exchange = {
      actor: id.split("/")[0] ?? id,
      step,
      process: process.name,
      client,
      began,
      ended: virtualNow(),
      answer,
      operation,
      wasFull,
    };
    this.exchanges.push(exchange);
    this.#checkBounds(process);
    if (answer.status >= 500 && answer.status !== 503)
      this.violation("c", `${id} ${step}: status ${answer.status} ${JSON.stringify(answer.body)}`);
    return exchange;
  }

  #faultsOf(id: string): Pick<Operation, "fault" | "redisFault"> {
    const random = (what: string): Random => new Random(`${this.seed}/${id}/${what}`);
    return {
      fault: drawFault(random("fault"), FAULTS_IN_A_STORM),
      redisFault: this.redis === undefined ? undefined : drawRedisFault(random("redis-fault"), REDIS_FAULTS_IN_A_STORM),
    };
  }

  /** Invariant (e): what is kept in the memory of a process stays within the places there are. */
  #checkBounds({ name, limits, memory }: SimulatedProcess): void {
    for (const [kind, store] of Object.entries({ limits, ...memory })) {
      const places = PLACES[kind as keyof typeof PLACES];
      if (store !== undefined && store.size > places)
        this.violation("e", `${name}: more than ${places} ${kind} held in ${places} places`);
    }
  }

  violation(invariant: string, what: string): void {
    const told = `(${invariant}) ${what}`;
    if (!this.violations.includes(told)) this.violations.push(told);
  }

  /**
   * What of a limit may be accepted, and by whom it is counted: by each process, or by Redis for all of them. While Redis fails, each
   * process counts for itself; so each accepts the limit once more, and Redis once more for each time it lost its data.
   */
  get counting(): { readonly together: boolean; readonly times: number } {
    if (this.redis === undefined) return { together: false, times: 1 };
    if (this.weather === "calm") return { together: true, times: 1 };
    return { together: true, times: 1 + this.redis.losses + this.#lives };
  }

  /** Invariant (a) for the main limit: at most N accepted in any window, wherever it is counted. */
  checkMainLimit(): void {
    const { together, times } = this.counting;
    const accepted = new Map<string, number[]>();
    for (const { process, client, began, answer } of this.exchanges) {
      if (answer.status === 429) continue;
      const name = together ? client : `${process} ${client}`;
      const moments = accepted.get(name) ?? [];
      moments.push(began);
      accepted.set(name, moments);
    }
    const most = LIMIT.limit * times;
    for (const [name, moments] of accepted) {
      moments.sort((a, b) => a - b);
      const isOver = moments.some(
        (moment, at) => (moments[at + most] ?? Infinity) - moment < LIMIT.windowSeconds * 1000,
      );
      if (isOver) this.violation("a", `${name}: more than ${most} requests accepted in ${LIMIT.windowSeconds} s`);
    }
  }
}
