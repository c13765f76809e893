import type { Runtime } from "../../core/runtime.js";
import type { StoreCaller } from "../../core/store-caller.js";
import { faultOf } from "../../stores/health/store-fault.js";
import type { KeyDigest, StoredApiKey } from "../../stores/contracts.js";
import { stateProblem } from "../decide.js";
import type { KeyHasher } from "../keys/hashing.js";
import { countedAddress } from "./limits.js";
import { type VerifiedCache, type VerifiedKey, verifiedKey } from "./verified-cache.js";

/** The dependencies of the prover. `get` and `replaceHash` call the store with a time-out. */
export interface ProverParts {
  readonly cacheMs: number;
  readonly runtime: Runtime;
  readonly cache: VerifiedCache;
  readonly hasher: KeyHasher;
  readonly get: (id: string, from: StoreCaller) => Promise<StoredApiKey | undefined>;
  readonly replaceHash: (id: string, from: KeyDigest, to: KeyDigest) => Promise<boolean>;
}

/** The record of a key whose secret is right, or why there is none. */
export type Proof =
  VerifiedKey | { readonly problem: "unknown" | "mismatch" | "unreadable"; readonly stored?: StoredApiKey };

/** Compares a presented key with the record of its id in the store, by its hash. */
export class KeyProver {
  readonly #parts: ProverParts;
  readonly #inFlight = new Map<string, Promise<Proof>>();
  readonly #upgrades = new Map<string, Promise<void>>();

  constructor(parts: ProverParts) {
    this.#parts = parts;
  }

  /**
   * Concurrent uses of the same key share one look-up and one hash.
   *
   * @param known the cached key, whose record is to be read again
   */
  prove(
    key: string,
    id: string,
    fingerprint: string,
    known: VerifiedKey | undefined,
    from: StoreCaller,
  ): Promise<Proof> {
    const underWay = this.#inFlight.get(fingerprint);
    if (underWay !== undefined) return underWay;
    const proof = this.#proveNow(key, id, fingerprint, known?.digest, from).finally(() =>
      this.#inFlight.delete(fingerprint),
    );
    this.#inFlight.set(fingerprint, proof);
    return proof;
  }

  /** Waits for digest upgrades that are in progress. */
  async close(): Promise<void> {
    await Promise.all(this.#upgrades.values());
  }

  async #proveNow(
    key: string,
    id: string,
    fingerprint: string,
    digest: string | undefined,
    from: StoreCaller,
  ): Promise<Proof> {
    const { cache, cacheMs, hasher, runtime } = this.#parts;
    const callers = from.client === undefined ? [] : [`address ${countedAddress(from.client)}`];
    let proved = digest;
    for (let attempt = 1; ; attempt += 1) {
      const generation = cache.generation;
      // Measured from the read, not from the end of the hash, which may have waited: the record is as old as the read.
      const readAt = runtime.clock.monotonic();
      let stored: StoredApiKey | undefined;
      try {
        stored = await this.#parts.get(id, from);
      } catch (error) {
        if (faultOf(error) === "record") return { problem: "unreadable" };
        throw error;
      }
      if (stored === undefined) return { problem: "unknown" };
      if (proved !== stored.hash.digest) {
        const comparison = await hasher.compare(key, stored.hash, callers, { key: id, owner: stored.ownerId });
        if (comparison !== "match") return { problem: comparison, stored };
        proved = stored.hash.digest;
      }
      const entry = entryOf(stored, fingerprint, readAt, cacheMs);
      if (entry === undefined) return { problem: "unreadable", stored };
      if (cache.generation === generation) {
        if (cacheMs > 0) cache.set(entry);
        if (stateProblem(stored, runtime.clock.now()) === undefined) this.#upgrade(key, stored, fingerprint);
        return entry;
      }
      // A key was revoked during the look-up. It may have been this one, so read the record again; the hash is not
      // repeated.
      if (attempt === 3) return entry;
    }
  }

  /**
   * Updates a digest to the algorithm, pepper and parameters of the settings, in the background. A failure is retried
   * at the next look-up.
   */
  #upgrade(key: string, stored: StoredApiKey, fingerprint: string): void {
    if (this.#upgrades.has(stored.id)) return;
    const work = this.#replaceDigest(key, stored, fingerprint).then(
      () => undefined,
      () => undefined, // best effort: the old digest still works, and the store's guard has announced an outage
    );
    this.#upgrades.set(stored.id, work);
    void work.then(() => this.#upgrades.delete(stored.id));
  }

  async #replaceDigest(key: string, stored: StoredApiKey, fingerprint: string): Promise<void> {
    const { cache, hasher, replaceHash } = this.#parts;
    if (!(await hasher.isOutdated(stored.hash))) return;
    const digest = await hasher.digest(key, [`owner ${stored.ownerId}`]);
    if (!(await replaceHash(stored.id, stored.hash, digest))) return;
    const known = cache.get(stored.id, fingerprint);
    if (known !== undefined) cache.set({ ...known, digest: digest.digest });
  }
}

function entryOf(stored: StoredApiKey, fingerprint: string, readAt: number, cacheMs: number): VerifiedKey | undefined {
  try {
    return verifiedKey(stored, fingerprint, readAt, cacheMs);
  } catch {
    return undefined; // the store contains an address list that this service did not write
  }
}
