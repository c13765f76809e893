import { nearest } from "../core/nearest.js";
import { InvalidInputError } from "../core/portcullis-error.js";
import type { Runtime } from "../core/runtime.js";
import { guardFor } from "./consume.js";
import type { Limit } from "./limit.js";
import { policiesOf } from "./undecided.js";

/** A limit that can be found by its name. */
export interface ListedLimit {
  readonly limit: Pick<Limit, "name" | "keyNamed" | "store" | "storeTimeoutMs" | "isFailure" | "block"> & {
    readonly counts: Pick<Limit["counts"], "fixed" | "policies">;
  };
  /** Forgets a client that this process counts while the store fails. */
  forgetLocally(key: string): void;
}

/** What a client has used of a limit. */
export interface LimitUse {
  /** Units in the window that ends now. */
  readonly used: number;
  /** When the oldest of them leaves the window, in milliseconds since the epoch; now, when there is none. */
  readonly resetAt: number;
  /** Units left; absent when the limit is a function and the call did not name a number. */
  readonly remaining?: number;
}

/** Options of one `peek` call. */
export interface PeekSettings {
  /** Units that this client may use in a window, for a limit that is a function. */
  readonly limit?: number;
}

/**
 * The limits of a secured app, by name: `name` of `rateLimit` (`"default"`), that name with `-principal` for
 * `perPrincipal`, and the names of the limits of routes. A client is named by its address, by the id of its principal
 * for a limit by principal, or by the text that the limit's own function returns.
 */
export interface Limits {
  /**
   * What a client has used of a limit, and what is left; records nothing. Of several windows, it is the one with the
   * fewest units left.
   *
   * @throws InvalidInputError (rejects) when there is no limit of this name, or the key or the limit is malformed
   * @throws StoreUnavailableError (rejects, with `status` 503) when the store did not respond
   */
  peek(name: string, key: string, options?: PeekSettings): Promise<LimitUse>;
  /**
   * Starts a limit afresh for one client. Units that were taken before are not taken back by `refund` any more.
   *
   * @throws InvalidInputError (rejects) when there is no limit of this name, or the key is malformed
   * @throws StoreUnavailableError (rejects, with `status` 503) when the store did not respond
   */
  reset(name: string, key: string): Promise<void>;
}

/** Longest key, in characters: what a key function may return. */
const MAX_KEY_LENGTH = 256;

/** Finds the limits of an app by their names. */
export class LimitDirectory implements Limits {
  readonly #limiters = new Map<string, ListedLimit[]>();
  readonly #runtime: Runtime;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Adds a limiter. Limits of routes with one name share their count; the main limit keeps its name for itself. */
  add(limiter: ListedLimit): void {
    const { name, counts } = limiter.limit;
    const known = this.#limiters.get(name);
    if (known === undefined) this.#limiters.set(name, [limiter]);
    else if (known[0]?.limit.counts.policies[0]?.name === counts.policies[0]?.name) known.push(limiter);
  }

  async peek(name: string, key: string, { limit }: PeekSettings = {}): Promise<LimitUse> {
    const { limit: described } = this.#find(name)[0]!;
    if (limit !== undefined && !(Number.isInteger(limit) && limit >= 0))
      throw new InvalidInputError("limits.peek: limit must be a whole number of at least 0.");
    const client = described.keyNamed(checkedKey("peek", key));
    const { counts, store, storeTimeoutMs } = described;
    const guard = guardFor(store, this.#runtime, storeTimeoutMs);
    const uses = await Promise.all(
      counts.policies.map(async (policy, index) => {
        const { used, resetMs } = await guard.run(() => store.peek(policy, client, 0));
        const most = limit ?? counts.fixed?.[index]?.policy.limit;
        const resetAt = this.#runtime.clock.now() + resetMs;
        return most === undefined ? { used, resetAt } : { used, resetAt, remaining: Math.max(0, most - used) };
      }),
    );
    const tightest = uses.reduce((least, use) => (leftOf(use) < leftOf(least) ? use : least));
    const { block } = described;
    if (block === undefined) return tightest;
    const { used, resetMs } = await guard.run(() => store.peek(block.policy, client, 0));
    const blockedUntil = this.#runtime.clock.now() + resetMs;
    return used === 0
      ? tightest
      : { used: tightest.used, remaining: 0, resetAt: Math.max(tightest.resetAt, blockedUntil) };
  }

  async reset(name: string, key: string): Promise<void> {
    const limiters = this.#find(name);
    const text = checkedKey("reset", key);
    for (const limiter of limiters) {
      const { store, storeTimeoutMs, keyNamed } = limiter.limit;
      const client = keyNamed(text);
      const guard = guardFor(store, this.#runtime, storeTimeoutMs);
      limiter.forgetLocally(client);
      await Promise.all(policiesOf(limiter.limit).map(async (policy) => guard.run(() => store.reset(policy, client))));
    }
  }

  #find(name: string): readonly ListedLimit[] {
    const limiters = this.#limiters.get(name);
    if (limiters !== undefined) return limiters;
    const known = [...this.#limiters.keys()];
    const near = nearest(String(name), known);
    throw new InvalidInputError(
      near === undefined
        ? `There is no limit with this name. Known: ${known.join(", ")}.`
        : `There is no limit with this name. Did you mean "${near}"?`,
    );
  }
}

function checkedKey(method: string, key: string): string {
  if (typeof key === "string" && key.length > 0 && key.length <= MAX_KEY_LENGTH) return key;
  throw new InvalidInputError(`limits.${method}: key must be text of 1 to ${MAX_KEY_LENGTH} characters.`);
}

function leftOf({ remaining }: LimitUse): number {
  return remaining ?? Infinity;
}
