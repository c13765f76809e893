import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** How often a target is asked. */
export interface Pace {
  /** Clients that ask at once. */
  readonly clients: number;
  /** How long a client waits from an answer to its next request, in milliseconds. */
  readonly gapMs: number;
  /** In what time more than two answers come when all is well, in milliseconds. */
  readonly steadyMs: number;
}

/** For requests that make one call of a store. */
const QUICK: Pace = Object.freeze({ clients: 3, gapMs: 8, steadyMs: 150 });

/** One kind of request under load. */
export interface Target {
  readonly name: string;
  readonly path: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Whether it writes: the outcome of a COMMIT is waited for, up to five seconds (src/stores/README.md). Default: false. */
  readonly isWrite?: boolean;
  /** Default: three clients, 8 ms from one request to the next. */
  readonly pace?: Pace;
}

export function paceOf({ pace = QUICK }: Target): Pace {
  return pace;
}

export interface Sample {
  readonly name: string;
  /** 0: the connection broke or no answer came within ten seconds. */
  readonly status: number;
  readonly startedAt: number;
  readonly ms: number;
}

const HANG_MS = 10_000;

/** Clients that send one request after another to each target until `stop`, over kept-alive connections. */
export class Load {
  readonly samples: Sample[] = [];
  readonly #agent = new Agent({ keepAlive: true });
  readonly #workers: Promise<void>[] = [];
  #isStopped = false;

  constructor(port: number, targets: readonly Target[]) {
    for (const target of targets) {
      const { clients, gapMs } = paceOf(target);
      for (let i = 0; i < clients; i += 1) this.#workers.push(this.#work(port, target, gapMs));
    }
  }

  async #work(port: number, target: Target, gapMs: number): Promise<void> {
    while (!this.#isStopped) {
      this.samples.push(await sendOnce(port, target, this.#agent));
      await sleep(gapMs);
    }
  }

  /** Statuses seen in requests that began between two moments, by target; those also answered by then when `answered`. */
  statuses(name: string, from = 0, to = Infinity, answered = false): number[] {
    const samples = this.#of(name, from, to).filter(({ startedAt, ms }) => !answered || startedAt + ms < to);
    return [...new Set(samples.map(({ status }) => status))].sort((a, b) => a - b);
  }

  count(name: string, from = 0, to = Infinity): number {
    return this.#of(name, from, to).length;
  }

  /** The slowest request of those that were answered after a moment, of one target or of all. */
  slowest(answeredAfter: number, name?: string): Sample | undefined {
    return this.#answered(answeredAfter)
      .filter((sample) => name === undefined || sample.name === name)
      .reduce<Sample | undefined>(
        (slowest, sample) => (slowest !== undefined && slowest.ms >= sample.ms ? slowest : sample),
        undefined,
      );
  }

  /** How many requests that were answered after a moment waited for more than `ms`. */
  slowerThan(ms: number, answeredAfter: number): number {
    return this.#answered(answeredAfter).filter((sample) => sample.ms > ms).length;
  }

  #answered(after: number): Sample[] {
    return this.samples.filter(({ startedAt, ms }) => startedAt + ms >= after);
  }

  #of(name: string, from: number, to: number): Sample[] {
    return this.samples.filter((sample) => sample.name === name && sample.startedAt >= from && sample.startedAt < to);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#workers);
    this.#agent.destroy();
  }
}

export function sendOnce(port: number, target: Target, agent?: Agent): Promise<Sample> {
  const startedAt = performance.now();
  return new Promise((resolve) => {
    const done = (status: number): void =>
      resolve({ name: target.name, status, startedAt, ms: performance.now() - startedAt });
    const req = request(
      {
        host: "127.0.0.1",
        port,
        path: target.path,
        method: target.method ?? "GET",
        headers: target.headers,
        ...(agent === undefined ? {} : { agent }),
        timeout: HANG_MS,
      },
      (res) => {
        res.resume();
        res.on("end", () => done(res.statusCode ?? 0));
        res.on("error", () => done(0));
      },
    );
    req.on("timeout", () => req.destroy());
    req.on("error", () => done(0));
    req.end(target.body);
  });
}
