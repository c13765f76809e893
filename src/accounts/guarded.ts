import type { Runtime } from "../core/runtime.js";
import { callerForPrincipal } from "../core/store-caller.js";
import { ExpirySweeper, type ExpiringStore } from "../stores/expiry-sweeper.js";
import { StoreGuard } from "../stores/health/store-guard.js";
import { StoreTime } from "../stores/health/store-time.js";
import type { WriteCall } from "../stores/contracts.js";

/** A store of accounts with time-outs, which writes clean up sometimes. `read` and `write` call any method of it. */
export class Guarded<Store extends ExpiringStore & { close(): Promise<void> }> {
  readonly store: Store;
  readonly #guard: StoreGuard;
  readonly #sweeper: ExpirySweeper;
  readonly #timeoutMs: number;

  constructor(name: string, store: Store, runtime: Runtime, timeoutMs: number) {
    this.store = store;
    this.#guard = new StoreGuard(name, runtime, timeoutMs, store);
    this.#sweeper = new ExpirySweeper(store, runtime);
    this.#timeoutMs = timeoutMs;
  }

  /** The time that the calls of one request have together. */
  time(): StoreTime {
    return new StoreTime(this.#timeoutMs);
  }

  /**
   * @param owner whose data it is about, or what the caller presented
   * @throws StoreUnavailableError (rejects)
   */
  async read<T>(operation: (store: Store) => Promise<T>, owner: string, time?: StoreTime): Promise<T> {
    return this.#guard.run(() => operation(this.store), time, callerForPrincipal(owner));
  }

  /**
   * @param owner whose data it is about, or what the caller presented
   * @param onUndelivered see `StoreGuard.write`
   * @throws StoreUnavailableError (rejects); nothing was written then, or its outcome is in doubt
   */
  write<T>(
    operation: (store: Store, call: WriteCall) => Promise<T>,
    owner: string,
    time?: StoreTime,
    onUndelivered?: (value: T | undefined) => void,
  ): Promise<T> {
    this.#sweeper.sometimes();
    return this.#guard.write((call) => operation(this.store, call), onUndelivered, time, callerForPrincipal(owner));
  }

  /** Closes the store, after a clean-up in progress. */
  async close(): Promise<void> {
    await this.#sweeper.finished(this.#timeoutMs);
    await this.store.close();
  }
}
