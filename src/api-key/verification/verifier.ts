import type { StoreCaller } from "../../core/store-caller.js";
import { MAX_CREDENTIAL_LENGTH } from "../../core/http/authorization.js";
import { StoreUnavailableError } from "../../stores/health/store-guard.js";
import { mapMaybe, type MaybePromise } from "../../core/maybe-promise.js";
import type { LimitRefusal, PendingLimits } from "../../core/pending-limits.js";
import type { WindowOutcome, WindowPolicy } from "../../stores/contracts.js";
import { checkKey } from "../decide.js";
import { keyIdOf } from "../keys/format.js";
import { HashUnavailableError } from "../keys/hash-queue.js";
import { KeyProver, type ProverParts } from "./key-prover.js";
import type { KeyLimits } from "./limits.js";
import { type ApiKeyFailureReason, type ApiKeyVerification, rejected, type RejectedApiKey } from "./result.js";
import type { UsageLog } from "./usage.js";
import type { VerifiedKey } from "./verified-cache.js";

/** The dependencies of the verifier. */
export interface VerifierParts extends ProverParts {
  /** The prefixes of keys that are accepted. */
  readonly prefixes: readonly string[];
  readonly limits: KeyLimits;
  readonly usage: UsageLog;
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

/**
 * Verifies keys. The cheapest checks come first: form and checksum, cache, failure limits, store, hash, state of the
 * key, address, the key's own limit. An unknown id is answered without a dummy hash: ids are not secret, an attacker
 * who finds one still lacks 112 bits, and a hash for every invented id would let attackers exhaust the processor.
 */
export class KeyVerifier {
  readonly #parts: VerifierParts;
  readonly #prover: KeyProver;

  constructor(parts: VerifierParts) {
    this.#parts = parts;
    this.#prover = new KeyProver(parts);
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
    await this.#prover.close();
  }

  #idOf(key: string): string | undefined {
    if (key.length > MAX_CREDENTIAL_LENGTH) return undefined;
    // A key fits one prefix at most: what follows it is base62, and prefixes end in another character.
    for (const prefix of this.#parts.prefixes) {
      const id = keyIdOf(key, prefix);
      if (id !== undefined) return id;
    }
    return undefined;
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
        if (waitMs > 0) return rejected("too-many-failures", waitMs);
      }
      const proof = await this.#prover.prove(key, id, fingerprint, known, from);
      return await ("problem" in proof ? this.#fail(proof.problem, from, proof.stored) : this.#judge(proof, from));
    } catch (error) {
      if (error instanceof StoreUnavailableError) return rejected("store-unavailable", 1000);
      if (error instanceof HashUnavailableError) return rejected("busy", 1000);
      throw error;
    }
  }

  async #waitMs(id: string, from: StoreCaller): Promise<number> {
    const { limits } = this.#parts;
    return Math.max(...(await Promise.all([limits.addressRetryAfter(from), limits.keyRetryAfter(id, from)])));
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
      requests: [{ policy: limit, key: lineage, cost: 1 }],
      applyOutcomes: ([outcome]) => refusalOf(this.#afterLimit(outcome!, known)),
      onStoreFailure: () => refusalOf(this.#afterLimit(limits.consumeLocally(limit, lineage), known)),
    });
  }

  #afterLimit(outcome: WindowOutcome, known: VerifiedKey): ApiKeyVerification {
    if (outcome.allowed) return this.#accept(known);
    return { ...rejected("rate-limited", outcome.retryAfterMs, known.record), principal: known.accepted.principal };
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
}

/** An attempt that exceeds the limit gets only that result; it does not reveal whether the key was right. */
function afterFailure(
  reason: ApiKeyFailureReason,
  outcome: WindowOutcome | undefined,
  key?: { id: string; ownerId: string },
): RejectedApiKey {
  if (outcome !== undefined && !outcome.allowed) return rejected("too-many-failures", outcome.retryAfterMs, key);
  return key === undefined ? { ok: false, reason } : { ok: false, reason, keyId: key.id, ownerId: key.ownerId };
}
