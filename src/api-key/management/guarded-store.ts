import type { Runtime } from "../../core/runtime.js";
import { SetupError } from "../../core/setup-error.js";
import type { StoreCaller } from "../../core/store-caller.js";
import { faultOf } from "../../stores/health/store-fault.js";
import { StoreGuard } from "../../stores/health/store-guard.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import type { WriteCall } from "../../stores/health/write-call.js";
import type { ApiKeyStore } from "../../stores/contracts.js";
import { ApiKeyError } from "../errors.js";

/**
 * The store of API keys, opened on first use. Each call has a time-out. Reads and writes have separate guards: keys can
 * be verified while the store is full.
 */
export class GuardedKeyStore {
  /** For calls that are tried even while the store counts as down. Call `init` before. */
  readonly unguarded: ApiKeyStore;
  readonly #reads: StoreGuard;
  readonly #writes: StoreGuard;
  #initialised: Promise<void> | undefined;

  constructor(store: ApiKeyStore, runtime: Runtime, timeoutMs: number) {
    this.unguarded = store;
    this.#reads = new StoreGuard("api-keys", runtime, timeoutMs, store);
    this.#writes = new StoreGuard("api-keys-writes", runtime, timeoutMs, store);
  }

  /** Opens the store, once. Rejects with the store's error, and may then be called again. */
  init(): Promise<void> {
    this.#initialised ??= this.unguarded.init().catch((error: unknown) => {
      this.#initialised = undefined;
      throw error;
    });
    return this.#initialised;
  }

  async read<T>(operation: (store: ApiKeyStore) => Promise<T>, caller: StoreCaller, time?: StoreTime): Promise<T> {
    return this.#reads.run(() => this.init().then(() => operation(this.unguarded)), time, caller);
  }

  /**
   * @param caller whose key it is about
   * @param onUndelivered gets the result of a write that the store completed after its caller had been refused
   */
  async write<T>(
    operation: (store: ApiKeyStore, call: WriteCall) => Promise<T>,
    caller: StoreCaller,
    onUndelivered?: (value: T | undefined) => void,
    time?: StoreTime,
  ): Promise<T> {
    return this.#writes.write(
      (call) => this.init().then(() => operation(this.unguarded, call)),
      onUndelivered,
      time,
      caller,
    );
  }
}

/**
 * Returns a store that has this optional method.
 *
 * @throws SetupError when it does not
 */
export function storeWith<Name extends keyof ApiKeyStore>(
  store: ApiKeyStore,
  name: Name,
): ApiKeyStore & Required<Pick<ApiKeyStore, Name>> {
  if (typeof store[name] === "function") return store as ApiKeyStore & Required<Pick<ApiKeyStore, Name>>;
  throw new SetupError(
    `The store of the API keys has no method ${name}. Add it, and check it with apiKeyStoreConformance of portcullis/testing.`,
  );
}

/**
 * Converts store errors caused by this call alone: an invalid value, an unreadable record, or an owner with too many
 * keys.
 *
 * @throws ApiKeyError (rejects) "invalid-input", "too-many-keys" or "unreadable"
 */
export async function withKeyErrors<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    const fault = faultOf(error);
    if (fault === "input")
      throw new ApiKeyError("invalid-input", [{ path: "", message: "Contains a value that cannot be stored" }], {
        cause: error,
      });
    if (fault === "share") throw new ApiKeyError("too-many-keys", [], { cause: error });
    if (fault === "record") throw new ApiKeyError("unreadable", [], { cause: error });
    throw error;
  }
}
