import { BoundedCache } from "../../core/bounded-cache.js";
import type { Runtime } from "../../core/runtime.js";
import { announceOverload } from "../../stores/health/call-events.js";
import type { JwtAlgorithm } from "../keys/algorithms.js";
import { discoverKeys } from "./discovery.js";
import { FetchProblem } from "../../core/http/fetch-text.js";
import { fetchJson } from "./fetch-json.js";
import { findKey, type IssuerKey, keysOf, MAX_KID } from "./key-set.js";
import type { ResolvedJwtIssuerSettings } from "./settings.js";

/** Requests with an unknown key that wait for one fetch. */
const MAX_WAITERS = 100;
/** Unknown keys cause at most one fetch in this time, in milliseconds. */
const COOLDOWN_MS = 30_000;
/** How long a key that a fetch did not bring is not asked for again, and how many such keys are remembered. */
const UNKNOWN_MS = 60_000;
const MAX_UNKNOWN = 256;
/** Pause after a fetch that failed; it doubles with each further one. In milliseconds. */
const FIRST_RETRY_MS = 10_000;
const LAST_RETRY_MS = 60_000;

/** A key; `undefined` when the issuer has none of this name; or that this cannot be said now. */
export type KeyAnswer = IssuerKey | "unavailable" | undefined;

/**
 * The keys of one issuer: fetched at start, renewed in the background, and fetched once for all requests that wait for
 * an unknown one. While they cannot be fetched, the last ones are used for a stated time.
 */
export class IssuerKeys {
  readonly #settings: ResolvedJwtIssuerSettings;
  readonly #runtime: Runtime;
  readonly #allowHttp: boolean;
  readonly #unknown = new BoundedCache<number>({ max: MAX_UNKNOWN });
  readonly #closing = new AbortController();
  #keys: readonly IssuerKey[] = [];
  #jwksUri: string | undefined;
  #fetching: Promise<void> | undefined;
  #waiters = 0;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  /** By the monotonic clock: the last success, the time of the next fetch, the last fetch for an unknown key. */
  #fetchedAt = -Infinity;
  #nextAt = -Infinity;
  #askedAt = -Infinity;

  /** @param allowHttp whether http: to a loopback host is allowed */
  constructor(settings: ResolvedJwtIssuerSettings, runtime: Runtime, allowHttp: boolean) {
    this.#settings = settings;
    this.#runtime = runtime;
    this.#allowHttp = allowHttp;
  }

  /** Fetches the keys. Resolves also when that fails: it is announced, and tried again in the background. */
  open(): Promise<void> {
    return this.#fetching ?? this.#fetch();
  }

  /** Stops renewing, and ends a fetch under way. */
  close(): void {
    this.#closing.abort();
    clearTimeout(this.#timer);
  }

  /** The key for a token. Returns a promise when the answer needs a fetch. Never rejects. */
  find(kid: string | undefined, algorithm: JwtAlgorithm): KeyAnswer | Promise<KeyAnswer> {
    if (kid !== undefined && kid.length > MAX_KID) return undefined;
    this.renew();
    const key = findKey(this.#keys, kid, algorithm);
    // A known name with another algorithm, or no name where there is a choice: a fetch would bring nothing.
    if (key !== undefined || this.#keys.some((known) => kid === undefined || known.kid === kid)) return key;
    if (this.#fetching === undefined && !this.#mayFetchFor(kid)) return this.#failures > 0 ? "unavailable" : undefined;
    return this.#afterFetch(kid, algorithm);
  }

  /**
   * Ends keys that are too old, and starts a renewal that is due. A timer starts it too, but not in a process that was
   * suspended.
   */
  renew(): void {
    const now = this.#runtime.clock.monotonic();
    const { refreshSeconds, staleSeconds } = this.#settings;
    if (now >= this.#fetchedAt + (refreshSeconds + staleSeconds) * 1000) this.#replaceKeys([]);
    if (now >= this.#nextAt && this.#fetching === undefined && !this.#closing.signal.aborted) void this.#fetch();
  }

  #mayFetchFor(kid = ""): boolean {
    const now = this.#runtime.clock.monotonic();
    if (this.#closing.signal.aborted || now < this.#askedAt + COOLDOWN_MS) return false;
    if (now < (this.#unknown.get(kid) ?? -Infinity)) return false;
    this.#askedAt = now;
    return true;
  }

  async #afterFetch(kid: string | undefined, algorithm: JwtAlgorithm): Promise<KeyAnswer> {
    if (this.#waiters >= MAX_WAITERS) {
      announceOverload(this.#runtime, "jwt-keys", "waiters");
      return "unavailable";
    }
    this.#waiters += 1;
    await (this.#fetching ?? this.#fetch());
    this.#waiters -= 1;
    const key = findKey(this.#keys, kid, algorithm);
    if (key !== undefined) return key;
    if (this.#failures > 0 || this.#closing.signal.aborted) return "unavailable";
    this.#unknown.set(kid ?? "", this.#runtime.clock.monotonic() + UNKNOWN_MS);
    return undefined;
  }

  /** One fetch at a time. Never rejects. */
  #fetch(): Promise<void> {
    clearTimeout(this.#timer);
    const work = this.#load()
      .then(
        (keys) => this.#succeeded(keys),
        (error: unknown) => this.#failed(error),
      )
      .finally(() => {
        this.#fetching = undefined;
      });
    this.#fetching = work;
    return work;
  }

  async #load(): Promise<IssuerKey[]> {
    const { issuer, jwksUri, algorithms, fetchTimeoutMs } = this.#settings;
    const limit = new AbortController();
    const end = (): void => limit.abort();
    const timer = setTimeout(end, fetchTimeoutMs).unref();
    this.#closing.signal.addEventListener("abort", end, { once: true });
    try {
      this.#jwksUri ??= jwksUri ?? (await discoverKeys(issuer, this.#allowHttp, limit.signal));
      return keysOf(await fetchJson(this.#jwksUri, this.#allowHttp, limit.signal), algorithms);
    } catch (error) {
      // The document may name another place by now.
      this.#jwksUri = undefined;
      throw error;
    } finally {
      clearTimeout(timer);
      this.#closing.signal.removeEventListener("abort", end);
    }
  }

  #succeeded(keys: readonly IssuerKey[]): void {
    this.#replaceKeys(keys);
    this.#fetchedAt = this.#runtime.clock.monotonic();
    if (this.#failures > 0) this.#announce("portcullis_store_recovered", "answered");
    this.#failures = 0;
    this.#schedule(this.#settings.refreshSeconds * 1000);
  }

  #failed(error: unknown): void {
    if (this.#closing.signal.aborted) return;
    this.#failures += 1;
    if (this.#failures === 1)
      this.#announce("portcullis_store_unavailable", error instanceof FetchProblem ? error.reason : "failed");
    this.#schedule(Math.min(FIRST_RETRY_MS * 2 ** (this.#failures - 1), LAST_RETRY_MS));
  }

  /** A key that is still published stays the same object, and with it the tokens that it has verified. */
  #replaceKeys(keys: readonly IssuerKey[]): void {
    const kept = new Set<IssuerKey>();
    const next = keys.map((key) => {
      const same = this.#keys.find((known) => isSame(known, key)) ?? key;
      kept.add(same);
      return same;
    });
    for (const known of this.#keys) if (!kept.has(known)) known.isGone = true;
    this.#keys = next;
  }

  #schedule(delayMs: number): void {
    if (this.#closing.signal.aborted) return;
    this.#nextAt = this.#runtime.clock.monotonic() + delayMs;
    this.#timer = setTimeout(() => void this.open(), delayMs).unref();
  }

  #announce(event: "portcullis_store_unavailable" | "portcullis_store_recovered", reason: string): void {
    this.#runtime.events.emit(event, () => ({ source: "jwt-keys", reason, issuer: this.#settings.issuer }));
  }
}

function isSame(one: IssuerKey, other: IssuerKey): boolean {
  return (
    one.thumbprint === other.thumbprint && one.kid === other.kid && one.algorithms.join() === other.algorithms.join()
  );
}
