import { setTimeout as sleep } from "node:timers/promises";
import { call, type Call } from "../quickstart/http.js";

/** One kind of request that clients keep sending. */
export interface Target extends Call {
  /** What it is, for people. */
  readonly name: string;
}

interface Sample {
  readonly name: string;
  /** 0: the connection broke. */
  readonly status: number;
  readonly servedBy: string;
  readonly startedAt: number;
  readonly ms: number;
}

const GAP_MS = 20;

/** One client for each target, which sends the next request a moment after the answer to the last. */
export class Load {
  readonly #samples: Sample[] = [];
  readonly #clients: Promise<void>[];
  #isStopped = false;

  constructor(
    origin: string,
    readonly targets: readonly Target[],
  ) {
    this.#clients = targets.map(async (target) => {
      while (!this.#isStopped) {
        const startedAt = performance.now();
        const { status, servedBy } = await call(origin, target).then(
          (reply) => ({ status: reply.status, servedBy: String(reply.headers["x-served-by"]) }),
          () => ({ status: 0, servedBy: "nobody" }),
        );
        this.#samples.push({ name: target.name, status, servedBy, startedAt, ms: performance.now() - startedAt });
        await sleep(GAP_MS);
      }
    });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#clients);
  }

  /** How often each status was seen in requests that began since that moment, as `200 ×41, 503 ×2`, in the order they came. */
  seen(name: string, since: number): string {
    const counts = new Map<number, number>();
    for (const { status } of this.#since(since, name)) counts.set(status, (counts.get(status) ?? 0) + 1);
    return [...counts].map(([status, count]) => `${status === 0 ? "broken connection" : status} ×${count}`).join(", ");
  }

  statuses(name: string | undefined, since: number): number[] {
    return [...new Set(this.#since(since, name).map(({ status }) => status))];
  }

  servers(since: number): string[] {
    return [...new Set(this.#since(since).map(({ servedBy }) => servedBy))].sort();
  }

  count(since: number): number {
    return this.#since(since).length;
  }

  slowestMs(since: number): number {
    return Math.max(0, ...this.#since(since).map(({ ms }) => ms));
  }

  /** Whether each client's last answers were 200. */
  isSteady(answers: number): boolean {
    return this.targets.every(({ name }) => {
      const last = this.#samples.filter((sample) => sample.name === name).slice(-answers);
      return last.length === answers && last.every(({ status }) => status === 200);
    });
  }

  /** When the last answer other than 200 was there; `since` when there was none. */
  lastTroubleAt(since: number): number {
    return Math.max(
      since,
      ...this.#since(since).map(({ status, startedAt, ms }) => (status === 200 ? since : startedAt + ms)),
    );
  }

  #since(since: number, name?: string): Sample[] {
    return this.#samples.filter((sample) => sample.startedAt >= since && (name === undefined || sample.name === name));
  }
}
