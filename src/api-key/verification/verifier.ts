import type { StoreCaller } from "../../core/store-caller.js";
import { MAX_CREDENTIAL_LENGTH } from "../../core/http/authorization.js";
import type { Runtime } from "../../core/runtime.js";
import { faultOf } from "../../stores/health/store-fault.js";
import { StoreUnavailableError } from "../../stores/health/store-guard.js";
import { mapMaybe, type MaybePromise } from "../../core/maybe-promise.js";
import type { LimitRefusal, PendingLimits } from "../../core/pending-limits.js";
import type { KeyDigest, StoredApiKey, WindowOutcome, WindowPolicy } from "../../stores/contracts.js";
import { checkKey, stateProblem } from "../decide.js";
import { keyIdOf } from "../keys/format.js";
import { HashUnavailableError } from "../keys/hash-queue.js";
import type { KeyHasher } from "../keys/hashing.js";
import { countedAddress, type KeyLimits } from "./limits.js";
import type { RejectedApiKey, ApiKeyFailureReason, ApiKeyVerification } from "./result.js";
import type { UsageLog } from "./usage.js";
import { type VerifiedCache, type VerifiedKey, verifiedKey } from "./verified-cache.js";

/** The dependencies of the verifier. `get` and `replaceHash` call the store with a time-out. */
export interface VerifierParts {
  readonly prefix: string;
  readonly cacheMs: number;
  readonly runtime: Runtime;
  readonly cache: VerifiedCache;
  readonly hasher: KeyHasher;
  readonly limits: KeyLimits;
  readonly usage: UsageLog;
  readonly get: (id: string, from: StoreCaller) => Promise<StoredApiKey | undefined>;
  readonly replaceHash: (id: string, from: KeyDigest, to: KeyDigest) => Promise<boolean>;
  /**
   * When present and not current, this process may have missed a revocation elsewhere; then every request reads the
   * store.
   */
  readonly changes?: { readonly isCurrent: boolean } | undefined;
}

/** The pending limits of the request that presents a key. The key's own limit is counted together with them. */
export interface JoinedLimits {
  readonly pending: PendingLimits;
  /** The refusal for the outcome of the key's own limit. */
  refusalOf(result: ApiKeyVerification): LimitRefusal | undefined;
}

type Proof = VerifiedKey | { readonly problem: "unknown" | "mismatch" | "unreadable"; readonly stored?: StoredApiKey };

/**
 * Verifies keys. The cheapest checks come first: form and checksum, cache, failure limits, store, hash, state of the
 * key, address, the key's own limit. An unknown id is answered without a dummy hash: ids are not secret, an attacker
 * who finds one still lacks 112 bits, and a hash for every invented id would let attackers exhaust the processor.
 */
export class KeyVerifier {
  readonly #parts: VerifierParts;
  readonly #inFlight = new Map<string, Promise<Proof>>();
  readonly #upgrades = new Map<string, Promise<void>>();

  constructor(parts: VerifierParts) {
    this.#parts = parts;
  }

  /**
   * Returns no promise when the key is cached (or malformed) and the limiter responds synchronously too. Never throws.
   *
   * @param from the request that presents the key, with the client's address where it counts
   * @param joined pending limits of the request; the own limit of a cached key is then added to them
   */
  check(key: string, from: StoreCaller, joined?: JoinedLimits): MaybePromise<ApiKeyVerification> {
    const id = this.#idOf(key);
    if (id === undefined) return this.#fail("malformed", from);
    const fingerprint = this.#parts.cache.fingerprint(key);
    const known = this.#parts.cache.get(id, fingerprint);
    if (known !== undefined && this.#isFresh(known)) return this.#judge(known, from, joined);
    return this.#lookUp(key, id, fingerprint, known, from);
  }

  /**
   * Whether `check` accepts the key at once, without a hash and without a call of a store.
   *
   * @param limits pending limits that the own limit of the key may join
   */
  isReady(key: string, from: StoreCaller, limits: PendingLimits | undefined): boolean {
    const id = this.#idOf(key);
    const { cache } = this.#parts;
    const known = id === undefined ? undefined : cache.get(id, cache.fingerprint(key));
    if (known === undefined || !this.#isFresh(known) || this.#problemOf(known, from) !== undefined) return false;
    return known.limit === undefined || (limits !== undefined && this.#canJoin(limits));
  }

  /** Waits for digest upgrades that are in progress. */
  async close(): Promise<void> {
    await Promise.all(this.#upgrades.values());
  }

  #idOf(key: string): string | undefined {
    return key.length > MAX_CREDENTIAL_LENGTH ? undefined : keyIdOf(key, this.#parts.prefix);
  }

  #isFresh({ freshUntil }: VerifiedKey): boolean {
    const { runtime, changes } = this.#parts;
    return runtime.clock.monotonic() < freshUntil && changes?.isCurrent !== false;
  }

  #problemOf({ record, allow }: VerifiedKey, from: StoreCaller): ReturnType<typeof checkKey> {
    return checkKey(record, allow, this.#parts.runtime.clock.now(), from.client);
  }

  #canJoin({ store }: PendingLimits): boolean {
    return this.#parts.limits.countIn(store);
  }

  async #lookUp(
    key: string,
    id: string,
    fingerprint: string,
    known: VerifiedKey | undefined,
    from: StoreCaller,
  ): Promise<ApiKeyVerification> {
    from.credential = id;
    try {
      // A key already verified in this process bypasses the failure limits: attempts on a key, or from the same
      // gateway, do not lock out its owner.
      if (known === undefined) {
        const waitMs = await this.#waitMs(id, from);
        if (waitMs > 0) return notAccepted("too-many-failures", waitMs);
      }
      const proof = await this.#proveOnce(key, id, fingerprint, known, from);
      return await ("problem" in proof ? this.#fail(proof.problem, from, proof.stored) : this.#judge(proof, from));
    } catch (error) {
      if (error instanceof StoreUnavailableError) return notAccepted("store-unavailable", 1000);
      if (error instanceof HashUnavailableError) return notAccepted("busy", 1000);
      throw error;
    }
  }

  async #waitMs(id: string, from: StoreCaller): Promise<number> {
    const { limits } = this.#parts;
    return Math.max(...(await Promise.all([limits.addressRetryAfter(from), limits.keyRetryAfter(id, from)])));
  }

  /** Concurrent uses of the same key share one look-up and one hash. */
  #proveOnce(
    key: string,
    id: string,
    fingerprint: string,
    known: VerifiedKey | undefined,
    from: StoreCaller,
  ): Promise<Proof> {
    const underWay = this.#inFlight.get(fingerprint);
    if (underWay !== undefined) return underWay;
    const proof = this.#prove(key, id, fingerprint, known?.digest, from).finally(() =>
      this.#inFlight.delete(fingerprint),
    );
    this.#inFlight.set(fingerprint, proof);
    return proof;
  }

  async #prove(
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
      const freshUntil = runtime.clock.monotonic() + cacheMs;
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
      const entry = entryOf(stored, fingerprint, freshUntil);
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

  #judge(known: VerifiedKey, from: StoreCaller, joined?: JoinedLimits): MaybePromise<ApiKeyVerification> {
    const problem = this.#problemOf(known, from);
    if (problem !== undefined) return this.#fail(problem, from, known.record);
    const { limit, record } = known;
    if (limit === undefined) return this.#accept(known);
    if (joined !== undefined && this.#canJoin(joined.pending)) {
      this.#join(limit, known, joined);
      return known.accepted;
    }
    return mapMaybe(this.#parts.limits.use(limit, record.lineage, from), (outcome) => this.#afterLimit(outcome, known));
  }

  #join(limit: WindowPolicy, known: VerifiedKey, { pending, refusalOf }: JoinedLimits): void {
    const { lineage } = known.record;
    const { limits } = this.#parts;
    pending.add({
      policy: limit,
      key: lineage,
      cost: 1,
      applyOutcome: (outcome) => refusalOf(this.#afterLimit(outcome, known)),
      onStoreFailure: () => refusalOf(this.#afterLimit(limits.consumeLocally(limit, lineage), known)),
    });
  }

  #afterLimit(outcome: WindowOutcome, known: VerifiedKey): ApiKeyVerification {
    if (outcome.allowed) return this.#accept(known);
    return { ...notAccepted("rate-limited", outcome.retryAfterMs, known.record), principal: known.accepted.principal };
  }

  #accept(known: VerifiedKey): ApiKeyVerification {
    this.#parts.usage.record(known.record.id);
    return known.accepted;
  }

  #fail(
    reason: ApiKeyFailureReason,
    from: StoreCaller,
    key?: { id: string; ownerId: string },
  ): MaybePromise<ApiKeyVerification> {
    const { limits } = this.#parts;
    const forKey = reason === "mismatch" && key !== undefined ? limits.recordKeyFailure(key.id, from) : undefined;
    const fromAddress = from.client === undefined ? undefined : limits.recordAddressFailure(from.client, from);
    if (forKey instanceof Promise || fromAddress instanceof Promise) {
      return Promise.all([fromAddress, forKey]).then(([outcome]) => afterFailure(reason, outcome, key));
    }
    return afterFailure(reason, fromAddress, key);
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

function entryOf(stored: StoredApiKey, fingerprint: string, freshUntil: number): VerifiedKey | undefined {
  try {
    return verifiedKey(stored, fingerprint, freshUntil);
  } catch {
    return undefined; // the store contains an address list that this service did not write
  }
}

/** An attempt that exceeds the limit gets only that result; it does not reveal whether the key was right. */
function afterFailure(
  reason: ApiKeyFailureReason,
  outcome: WindowOutcome | undefined,
  key?: { id: string; ownerId: string },
): RejectedApiKey {
  if (outcome !== undefined && !outcome.allowed) return notAccepted("too-many-failures", outcome.retryAfterMs, key);
  return key === undefined ? { ok: false, reason } : { ok: false, reason, keyId: key.id, ownerId: key.ownerId };
}

function notAccepted(
  reason: ApiKeyFailureReason,
  waitMs: number,
  key?: { id: string; ownerId: string },
): RejectedApiKey {
  // RFC 9110 section 10.2.3: whole seconds; rounded up, so that a client does not retry too early.
  const retryAfterSeconds = Math.max(1, Math.ceil(waitMs / 1000));
  return key === undefined
    ? { ok: false, reason, retryAfterSeconds }
    : { ok: false, reason, retryAfterSeconds, keyId: key.id, ownerId: key.ownerId };
}
