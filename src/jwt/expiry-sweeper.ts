import { setTimeout as sleep } from "node:timers/promises";
import type { Runtime } from "../core/runtime.js";
import type { TokenStore } from "../stores/contracts.js";

const CLEAN_EVERY_MS = 10 * 60_000;

/** Deletes ended records now and then, on the occasion of a new one: no timer, and nobody waits for it. */
export class ExpirySweeper {
  readonly #store: Pick<TokenStore, "deleteExpired">;
  readonly #runtime: Runtime;
  #cleanedAt: number;
  #running: Promise<void> | undefined;

  constructor(store: Pick<TokenStore, "deleteExpired">, runtime: Runtime) {
    this.#store = store;
    this.#runtime = runtime;
    this.#cleanedAt = runtime.clock.monotonic();
  }

  /** Starts a cleaning when the last one is ten minutes past. */
  sometimes(): void {
    const now = this.#runtime.clock.monotonic();
    if (this.#running !== undefined || now - this.#cleanedAt < CLEAN_EVERY_MS) return;
    this.#cleanedAt = now;
    const done = (): void => {
      this.#running = undefined;
    };
    // A store that fails here fails for a request soon, and is announced then.
    this.#running = this.#store.deleteExpired(this.#runtime.clock.now()).then(done, done);
  }

  /** Waits for a cleaning that is under way, but not for a store that hangs. */
  async finished(patienceMs: number): Promise<void> {
    if (this.#running === undefined) return;
    const waiting = new AbortController();
    await Promise.race([
      this.#running,
      sleep(patienceMs, undefined, { signal: waiting.signal }).catch(() => undefined),
    ]);
    waiting.abort();
  }
}
