import type { Runtime } from "../core/runtime.js";
import { withTimeout } from "./health/timeout.js";

const CLEAN_EVERY_MS = 10 * 60_000;

/** A store whose records expire. */
export interface ExpiringStore {
  deleteExpired(now: number): Promise<number>;
}

/** Deletes expired records occasionally, when one is written: it needs no timer, and no request waits for it. */
export class ExpirySweeper {
  readonly #store: ExpiringStore;
  readonly #runtime: Runtime;
  #cleanedAt: number;
  #running: Promise<void> | undefined;

  constructor(store: ExpiringStore, runtime: Runtime) {
    this.#store = store;
    this.#runtime = runtime;
    this.#cleanedAt = runtime.clock.monotonic();
  }

  /** Starts a clean-up when the last one was ten minutes ago or more. */
  sometimes(): void {
    const now = this.#runtime.clock.monotonic();
    if (this.#running !== undefined || now - this.#cleanedAt < CLEAN_EVERY_MS) return;
    this.#cleanedAt = now;
    const done = (): void => {
      this.#running = undefined;
    };
    // A failure is ignored here: if the store is down, a request will soon fail too and announce it.
    this.#running = this.#store.deleteExpired(this.#runtime.clock.now()).then(done, done);
  }

  /** Waits for a clean-up in progress, but no longer than `patienceMs`, in case the store hangs. */
  async finished(patienceMs: number): Promise<void> {
    if (this.#running === undefined) return;
    await withTimeout(this.#running, patienceMs).catch(() => undefined);
  }
}
