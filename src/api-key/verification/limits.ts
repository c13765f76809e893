import type { StoreCaller } from "../../core/store-caller.js";
import { addressKey } from "../../core/http/client-address.js";
import { OWN_LIMITS } from "../../core/rate-limits.js";
import type { Runtime } from "../../core/runtime.js";
import { StoreGuard, StoreUnavailableError } from "../../stores/health/store-guard.js";
import type { RateLimitStore, WindowOutcome, WindowPolicy } from "../../stores/contracts.js";
import { SlidingWindowStore } from "../../stores/memory/sliding-window/store.js";

/** All addresses of an IPv6 subscriber's network count as one address. */
const IPV6_SUBNET = 56;
/** Number of failures accepted for one key id, as a multiple of those accepted from one address. */
const PER_KEY_FACTOR = 5;

type Outcome = WindowOutcome | Promise<WindowOutcome>;

/** Returns the form in which an address is counted, which also identifies its places in the hash queue. */
export function countedAddress(address: string): string {
  return addressKey(address, IPV6_SUBNET);
}

/**
 * The limits of API keys: failed attempts by address and by key id, and a key's own limit. When the shared store fails,
 * an in-process store replaces it: a failing limiter must neither lock out all clients nor accept unlimited attempts.
 */
export class KeyLimits {
  readonly #store: RateLimitStore;
  readonly #local: SlidingWindowStore;
  readonly #guard: StoreGuard;
  readonly #byAddress: WindowPolicy;
  readonly #byKey: WindowPolicy;

  /** @param shared a store that other parts use too; not closed here */
  constructor(
    failures: { limit: number; windowSeconds: number },
    runtime: Runtime,
    timeoutMs: number,
    shared: RateLimitStore | undefined,
  ) {
    this.#local = new SlidingWindowStore({ clock: runtime.clock });
    this.#store = shared ?? this.#local;
    this.#guard = new StoreGuard("api-key-limits", runtime, timeoutMs, shared);
    const windowMs = failures.windowSeconds * 1000;
    this.#byAddress = { name: OWN_LIMITS.failuresByAddress, limit: failures.limit, windowMs };
    this.#byKey = { name: OWN_LIMITS.failuresByKey, limit: failures.limit * PER_KEY_FACTOR, windowMs };
  }

  /** Counts one use of a key with its own limit, in the log of its lineage. */
  use(policy: WindowPolicy, lineage: string, from: StoreCaller): Outcome {
    return this.#ask((store) => store.consume(policy, lineage, 1), from);
  }

  /** Counts one use in this process only, after the shared store failed when called for several limits together. */
  consumeLocally(policy: WindowPolicy, lineage: string): WindowOutcome {
    return this.#local.consume(policy, lineage, 1);
  }

  /** Whether the limits are counted in this store. */
  countIn(store: object): boolean {
    return this.#store === store;
  }

  /**
   * Returns the milliseconds until the next attempt from this address is accepted; 0 when it is accepted now, or the
   * address is unknown.
   */
  async addressRetryAfter(from: StoreCaller): Promise<number> {
    if (from.client === undefined) return 0;
    const address = countedAddress(from.client);
    return (await this.#ask((store) => store.peek(this.#byAddress, address, 1), from)).retryAfterMs;
  }

  /** Returns the milliseconds until the next attempt for this key id is accepted; 0 when it is accepted now. */
  async keyRetryAfter(id: string, from: StoreCaller): Promise<number> {
    return (await this.#ask((store) => store.peek(this.#byKey, id, 1), from)).retryAfterMs;
  }

  /** Counts a failure against the address; the outcome is not allowed when there are too many. */
  recordAddressFailure(address: string, from: StoreCaller): Outcome {
    return this.#ask((store) => store.consume(this.#byAddress, countedAddress(address), 1), from);
  }

  /** Counts a wrong secret against the key id. */
  recordKeyFailure(id: string, from: StoreCaller): Outcome {
    return this.#ask((store) => store.consume(this.#byKey, id, 1), from);
  }

  async close(): Promise<void> {
    this.#local.close();
  }

  #ask(operation: (store: RateLimitStore) => Outcome, from: StoreCaller): Outcome {
    if (this.#store === this.#local) return operation(this.#local);
    try {
      const answer = this.#guard.run(() => operation(this.#store), undefined, from);
      return answer instanceof Promise ? answer.catch((error: unknown) => this.#fallBack(error, operation)) : answer;
    } catch (error) {
      return this.#fallBack(error, operation);
    }
  }

  #fallBack(error: unknown, operation: (store: RateLimitStore) => Outcome): Outcome {
    if (error instanceof StoreUnavailableError) return operation(this.#local);
    throw error;
  }
}
