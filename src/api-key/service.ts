import { LRUCache } from "lru-cache";
import { announceOverload } from "../stores/health/call-events.js";
import type { SecurityEventName, SecurityEvents } from "../core/events.js";
import { maskKeysWith } from "../core/mask-credentials.js";
import { RepeatedWrites } from "../stores/health/repeated-writes.js";
import { partRuntime, type Runtime } from "../core/runtime.js";
import type { StoreCaller } from "../core/store-caller.js";
import { faultOf } from "../stores/health/store-fault.js";
import { withTimeout, StoreGuard } from "../stores/health/store-guard.js";
import { StoreTime } from "../stores/health/store-time.js";
import type { WriteCall } from "../stores/health/write-call.js";
import { parse } from "../settings/object.js";
import type { ApiKeyStore, StoredApiKey } from "../stores/contracts.js";
import { MemoryApiKeyStore } from "../stores/memory/api-key-store.js";
import { graceEnd, type ApiKeyMaker, stateProblem, THE_APP } from "./decide.js";
import { ApiKeyError } from "./errors.js";
import { generateKey, isKeyId } from "./keys/format.js";
import { HashQueue } from "./keys/hash-queue.js";
import { KeyHasher } from "./keys/hashing.js";
import {
  type CreateApiKeyInput,
  createSchema,
  type ListApiKeysInput,
  pageSchema,
  readInput,
  type RevokeApiKeyInput,
  revokeSchema,
  type RotateApiKeyInput,
  rotateSchema,
} from "./keys/input.js";
import { KeyLimits } from "./verification/limits.js";
import { type ApiKeyRecord, publicRecord } from "./keys/records.js";
import type { ApiKeyVerification } from "./verification/result.js";
import {
  type ApiKeyServiceDependencies,
  type AuditContext,
  type CreatedApiKey,
  type KeyChanges,
  type RotatedFields,
  missingSecret,
} from "./service-parts.js";
import { type ResolvedApiKeySettings, apiKeySchema, type ApiKeySettings } from "./settings.js";
import { UsageLog } from "./verification/usage.js";
import { VerifiedCache } from "./verification/verified-cache.js";
import { KeyVerifier } from "./verification/verifier.js";

export type { ApiKeyServiceDependencies, AuditContext, CreatedApiKey, KeyChanges } from "./service-parts.js";

const MOST_REVOCATIONS = 10_000;
const MOST_UNDELIVERED = 1000;
const UNDELIVERED_MS = 10 * 60_000;

/**
 * A revocation in progress, or one that was refused and is being retried. Concurrent calls that revoke the same key
 * share it.
 */
interface Revocation {
  /** The `revokedAt` that it writes, also in a retry. It identifies the revocation in the record. */
  readonly at: number;
  isAnnounced: boolean;
  wasRefused: boolean;
}

/**
 * Creates, verifies, rotates and revokes API keys. Times are milliseconds since the epoch. Methods that use the store
 * reject with `StoreUnavailableError` when it does not respond; methods that create a key also reject with
 * `HashUnavailableError`.
 *
 * @example
 * ```ts
 * import { ApiKeyService } from "portcullis";
 *
 * const keys = new ApiKeyService({ prefix: "shop_" });
 * const { key, record } = await keys.create({ ownerId: "ada", name: "CI", scopes: ["orders:read"] });
 * const result = await keys.verify(key);
 * if (result.ok) console.log(result.record.ownerId);
 * await keys.revoke(record.id, { reason: "leaked" });
 * ```
 */
export class ApiKeyService {
  readonly #options: ResolvedApiKeySettings;
  readonly #runtime: Runtime;
  readonly #store: ApiKeyStore;
  readonly #ownsStore: boolean;
  /** Reads and writes have separate guards: keys can be verified while the store is full. */
  readonly #reads: StoreGuard;
  readonly #writes: StoreGuard;
  readonly #unfinished = new RepeatedWrites();
  readonly #cache: VerifiedCache;
  readonly #hasher: KeyHasher;
  readonly #limits: KeyLimits;
  readonly #usage: UsageLog;
  readonly #changes: KeyChanges | undefined;
  readonly #stopListening: (() => void) | undefined;
  /** New keys of rotations that the store completed after the caller had been refused, by the id of the old key. */
  readonly #undelivered = new LRUCache<string, CreatedApiKey>({ max: MOST_UNDELIVERED, ttl: UNDELIVERED_MS });
  /** By the id of the key. */
  readonly #revocations = new LRUCache<string, Revocation>({ max: MOST_REVOCATIONS, ttl: UNDELIVERED_MS });
  /** @internal For the layer: `verify` without a promise when none is needed, that is, when the key is cached. */
  readonly verifier: KeyVerifier;
  #initialised: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /** @throws SettingsError when the settings are wrong, or `hash: "hmac-sha256"` is set without a secret */
  constructor(settings: ApiKeySettings = {}, deps: ApiKeyServiceDependencies = {}) {
    const options = parse(apiKeySchema, settings);
    const secrets = options.secret ?? deps.secretKey ?? [];
    if (options.hash === "hmac-sha256" && secrets.length === 0) throw missingSecret();
    this.#options = options;
    maskKeysWith(options.prefix);
    this.#runtime = deps.runtime ?? partRuntime(deps);
    this.#ownsStore = options.store !== undefined || deps.store === undefined;
    this.#store = options.store ?? deps.store ?? new MemoryApiKeyStore({ clock: this.#runtime.clock });
    this.#reads = new StoreGuard("api-keys", this.#runtime, options.storeTimeoutMs, this.#store);
    this.#writes = new StoreGuard("api-keys-writes", this.#runtime, options.storeTimeoutMs, this.#store);
    this.#cache = new VerifiedCache(options.cacheSize);
    this.#hasher = new KeyHasher(
      options.hash,
      secrets,
      new HashQueue(options.hashConcurrency, options.hashQueue, () =>
        announceOverload(this.#runtime, "api-keys", "queue"),
      ),
    );
    this.#limits = new KeyLimits(options.failures, this.#runtime, options.storeTimeoutMs, deps.limiter);
    this.#usage = new UsageLog(
      (batch) => this.#write((store, call) => store.addUsage(batch, call)),
      this.#runtime.clock,
      options.usageFlushSeconds,
    );
    this.verifier = new KeyVerifier({
      prefix: options.prefix,
      cacheMs: options.cacheSeconds * 1000,
      runtime: this.#runtime,
      cache: this.#cache,
      hasher: this.#hasher,
      limits: this.#limits,
      usage: this.#usage,
      get: (id, from) => this.#read((store) => store.get(id), undefined, from),
      replaceHash: (id, from, to) => this.#write((store) => store.replaceHash(id, from, to)),
      changes: deps.changes,
    });
    this.#changes = deps.changes;
    this.#stopListening = deps.changes?.onKeyChange((id) =>
      id === undefined ? this.#cache.clear() : this.#cache.evict(id),
    );
  }

  /** The effective settings; secrets print as `[secret]`. */
  get options(): ResolvedApiKeySettings {
    return this.#options;
  }

  /** @internal For the layer and the routes. */
  get runtime(): Runtime {
    return this.#runtime;
  }

  /** Announces creations, rotations, revocations and failed attempts. */
  get events(): SecurityEvents {
    return this.#runtime.events;
  }

  /** Opens the store. This also happens on first use; call it at start to detect a failure early. */
  init(): Promise<void> {
    this.#initialised ??= this.#store.init().catch((error: unknown) => {
      this.#initialised = undefined;
      throw error;
    });
    return this.#initialised;
  }

  /**
   * Writes the last usage counts and closes what the service opened. Does not reject when a count could not be written.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /**
   * Creates a key. Its secret is only in the returned value.
   *
   * @param maker the key or token that requested it, as determined by `apiKeyRoutes`; default: the app's own code
   * @throws ApiKeyError (rejects) "invalid-input" listing every issue; "too-many-keys" when the owner's share of a
   * bounded store is used up; "revoked", "expired" or "rotated" when the key that requested it is no longer valid
   */
  async create(
    input: CreateApiKeyInput,
    audit: AuditContext = {},
    maker: ApiKeyMaker = THE_APP,
  ): Promise<CreatedApiKey> {
    const wanted = readInput(createSchema, input);
    const now = this.#runtime.clock.now();
    if (wanted.expiresAt !== null && wanted.expiresAt <= now)
      throw new ApiKeyError("invalid-input", [{ path: "expiresAt", message: "Must be in the future" }]);
    const { key, stored } = await this.#make({ ...wanted, ...maker, firstId: null, createdAt: now });
    // Checked after the hash, which may have waited: a key created by an ended key would never be valid.
    if (maker.path.length > 0) await this.#demandInForce(maker.madeBy);
    await this.#own(
      this.#write(
        (store, call) => store.insert(stored, call),
        // The caller was refused, so no client has this key.
        () =>
          this.#unfinished.add(stored.id, () =>
            this.#store.revoke(stored.id, this.#runtime.clock.now(), "not-delivered"),
          ),
      ),
    );
    this.#announce("authn_token_created", "created", stored, audit);
    return { key, record: publicRecord(stored) };
  }

  /**
   * Verifies a key, and counts the use when the key is valid.
   *
   * @param from `address`: the client's. Without it, a key restricted to addresses is refused and failures are not
   * limited by address.
   */
  async verify(key: string, from: { readonly address?: string | undefined } = {}): Promise<ApiKeyVerification> {
    return this.verifier.check(typeof key === "string" ? key : "", {
      client: from.address,
      credential: undefined,
      waits: undefined,
    });
  }

  /** The owner's keys, newest first, revoked ones included: `limit` of them (50; at most 100) after the key `after`. */
  async list(ownerId: string | number, page: ListApiKeysInput = {}): Promise<ApiKeyRecord[]> {
    const read = readInput(pageSchema, page);
    await this.#usage.settled();
    const keys = await this.#own(this.#read((store) => store.list(String(ownerId), read)));
    return keys.map((key) => publicRecord(key, this.#usage.pending(key.id)));
  }

  /**
   * Returns the record of a key, or `undefined` when there is none.
   *
   * @throws ApiKeyError "unreadable" (rejects) when the record is damaged or of a newer version
   */
  async get(id: string): Promise<ApiKeyRecord | undefined> {
    if (!isKeyId(id)) return undefined;
    await this.#usage.settled();
    const stored = await this.#own(this.#read((store) => store.get(id)));
    return stored === undefined ? undefined : publicRecord(stored, this.#usage.pending(id));
  }

  /**
   * Returns how often a key was accepted and when last, with the uses not written yet; `undefined` when there is no
   * such key.
   */
  async usage(id: string): Promise<Pick<ApiKeyRecord, "usageCount" | "lastUsedAt"> | undefined> {
    const record = await this.get(id);
    return record === undefined ? undefined : { usageCount: record.usageCount, lastUsedAt: record.lastUsedAt };
  }

  /**
   * Replaces a key by one with the same owner, scopes, limits and expiry. The old one stays valid for `graceSeconds` (0
   * by default), never beyond its own expiry. A rotation that was refused with "store-unavailable" normally has no
   * effect. If the store completed it nevertheless, the next rotation of the same key in this process returns the new
   * key.
   *
   * @param maker the makers of the successor, when they differ from those of the old key
   * @throws ApiKeyError (rejects) "not-found", "revoked", "expired", "rotated", "unreadable", "too-many-keys" or
   * "invalid-input"
   */
  async rotate(
    id: string,
    input: RotateApiKeyInput = {},
    audit: AuditContext = {},
    maker?: ApiKeyMaker,
  ): Promise<CreatedApiKey> {
    const { graceSeconds } = readInput(rotateSchema, input);
    const time = new StoreTime(this.#options.storeTimeoutMs);
    const undelivered = await this.#takeUndelivered(id, maker, time);
    if (undelivered !== undefined) {
      this.#announce("authn_token_created", "rotated", undelivered.record, audit);
      return undelivered;
    }
    const old = await this.#rotatable(id, time);
    const { key, stored } = await time.besides(() =>
      this.#make({ ...old, ...maker, createdAt: this.#runtime.clock.now() }),
    );
    let done: boolean;
    try {
      done = await this.#own(
        this.#write(
          (store, call) => store.rotate(id, stored, graceEnd(stored.createdAt, graceSeconds, old.expiresAt), call),
          (isDone) => void (isDone !== false && this.#undelivered.set(id, { key, record: publicRecord(stored) })),
          time,
        ),
      );
    } finally {
      this.#cache.evict(id);
    }
    // The new key exists and must reach its owner, so this error is ignored; the feed retries the notification.
    await this.#changes?.publish({ kind: "api-key", name: id }).catch(() => undefined);
    if (!done) {
      await this.#rotatable(id, time);
      throw new ApiKeyError("rotated");
    }
    this.#announce("authn_token_created", "rotated", stored, audit);
    this.#announce("authn_token_revoked", graceSeconds > 0 ? "rotated-with-grace" : "rotated", old, audit);
    return { key, record: publicRecord(stored) };
  }

  /**
   * Ends a key for good, and every key made with it. Keys made with a key that was rotated belong to its successor and
   * stay valid. `descendants: true` ends those and the successors too, even when the key itself is already revoked: it
   * may have leaked, and an attacker may have rotated it. Revoking a key without a successor also ends the keys it
   * replaced, which may be in their grace period. This takes one mark in the store, regardless of their number.
   *
   * This process refuses the key immediately. Other processes refuse it within a second if they share a change feed,
   * and otherwise within `cacheSeconds` (src/stores/README.md).
   *
   * @returns false when there is no such key, or when it is already revoked and no key was left to end; true again when
   * this process was refused the same revocation and has completed it since
   * @throws ApiKeyError "invalid-input"; StoreUnavailableError when the store did not respond or the other processes
   * were not notified: this process retries until the store has the revocation
   */
  async revoke(id: string, input: RevokeApiKeyInput = {}, audit: AuditContext = {}): Promise<boolean> {
    const { reason, descendants } = readInput(revokeSchema, input);
    if (!isKeyId(id)) return false;
    const revocation = this.#revocations.get(id) ?? {
      at: this.#runtime.clock.now(),
      isAnnounced: false,
      wasRefused: false,
    };
    this.#revocations.set(id, revocation);
    // The order matters: processes that are notified must read the revoked key.
    const revoke = async (): Promise<boolean> => {
      await this.init();
      const isDone =
        (await this.#store.revoke(id, revocation.at, reason, descendants)) ||
        (revocation.wasRefused && (await this.#isDone(revocation, id, descendants)));
      if (isDone && !revocation.isAnnounced) {
        revocation.isAnnounced = true;
        this.#announce("authn_token_revoked", "revoked", { id }, audit);
      }
      // Publish even when the key was already revoked: the call that revoked it may have failed before this point.
      await this.#tellOfEnding(id);
      return isDone;
    };
    try {
      // The time-out covers all calls together, without a guard: a revocation is attempted even while the store counts
      // as down.
      const isDone = await withTimeout("api-keys", this.#options.storeTimeoutMs, revoke);
      this.#revocations.delete(id);
      return isDone;
    } catch (error) {
      if (faultOf(error) === "input") {
        this.#revocations.delete(id);
        throw error;
      }
      revocation.wasRefused = true;
      // The store may or may not have revoked the key; retry until it has.
      this.#unfinished.add(id, async () => {
        await revoke();
        this.#cache.evict(id);
      });
      throw error;
    } finally {
      // Evict after a time-out too: the store may have revoked the key.
      this.#cache.evict(id);
    }
  }

  /**
   * Whether an earlier, refused revocation is the reason why the store found the key already revoked. With descendants
   * the mark is not in the key's record, so any existing key counts.
   */
  async #isDone({ at }: Revocation, id: string, descendants: boolean): Promise<boolean> {
    const stored = await this.#readable(id);
    return stored !== undefined && (stored.revokedAt === at || descendants);
  }

  /** Makes every process read this key, and the keys that were ended with it, from the store again. */
  async #tellOfEnding(id: string): Promise<void> {
    const line = (await this.#readable(id))?.firstId ?? id;
    this.#cache.evict(line);
    for (const name of new Set([id, line])) await this.#changes?.publish({ kind: "api-key", name });
  }

  /** Returns the record of a key; `undefined` for a damaged record, whose key is revoked all the same. */
  async #readable(id: string): Promise<StoredApiKey | undefined> {
    try {
      return await this.#store.get(id);
    } catch (error) {
      if (faultOf(error) === "record") return undefined;
      throw error;
    }
  }

  async #make(from: RotatedFields): Promise<{ key: string; stored: StoredApiKey }> {
    const { ownerId, name, scopes, roles, allow, rateLimit, metadata, createdAt, expiresAt, madeBy, path } = from;
    const { key, id } = generateKey(this.#options.prefix, this.#options.length);
    const hash = await this.#hasher.digest(key, [`owner ${ownerId}`]);
    const fresh = {
      revokedAt: null,
      revokedReason: null,
      rotatedTo: null,
      graceUntil: null,
      usageCount: 0,
      lastUsedAt: null,
    };
    const makers = { madeBy, path, lineage: from.lineage ?? id, firstId: from.firstId ?? id };
    return {
      key,
      stored: {
        id,
        ownerId,
        name,
        hash,
        scopes,
        roles,
        allow,
        rateLimit,
        metadata,
        createdAt,
        expiresAt,
        ...makers,
        ...fresh,
      },
    };
  }

  async #rotatable(id: string, time: StoreTime): Promise<StoredApiKey> {
    const stored = isKeyId(id) ? await this.#own(this.#read((store) => store.get(id), time)) : undefined;
    if (stored === undefined) throw new ApiKeyError("not-found");
    const problem =
      stateProblem(stored, this.#runtime.clock.now()) ?? (stored.rotatedTo === null ? undefined : "rotated");
    if (problem !== undefined) throw new ApiKeyError(problem);
    return stored;
  }

  /** Throws when the key that creates another key is no longer valid. @param id id of that key */
  async #demandInForce(id: string | null): Promise<void> {
    const stored = id === null ? undefined : await this.#own(this.#read((store) => store.get(id)));
    const problem = stored === undefined ? "revoked" : stateProblem(stored, this.#runtime.clock.now());
    if (problem !== undefined) throw new ApiKeyError(problem);
  }

  async #read<T>(operation: (store: ApiKeyStore) => Promise<T>, time?: StoreTime, caller?: StoreCaller): Promise<T> {
    return this.#reads.run(() => this.init().then(() => operation(this.#store)), time, caller);
  }

  /**
   * Converts store errors caused by this call alone: an invalid value, an unreadable record, or an owner with too many
   * keys.
   */
  async #own<T>(call: Promise<T>): Promise<T> {
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

  async #write<T>(
    operation: (store: ApiKeyStore, call: WriteCall) => Promise<T>,
    notTold?: (value: T | undefined) => void,
    time?: StoreTime,
  ): Promise<T> {
    return this.#writes.write((call) => this.init().then(() => operation(this.#store, call)), notTold, time);
  }

  /**
   * Returns the new key of a rotation that completed although its caller was refused. It is returned once, and only
   * while it is valid; `undefined` when the rotation did not take place.
   */
  async #takeUndelivered(
    id: string,
    maker: ApiKeyMaker | undefined,
    time: StoreTime,
  ): Promise<CreatedApiKey | undefined> {
    const made = this.#undelivered.get(id);
    // Never return a key that would not end together with all of its makers.
    if (made === undefined || maker?.path.some((by) => !made.record.path.includes(by)) === true) return undefined;
    const stored = await this.#own(this.#read((store) => store.get(made.record.id), time));
    // Another call may have returned it meanwhile.
    if (stored === undefined || this.#undelivered.peek(id) !== made) return undefined;
    this.#undelivered.delete(id);
    return stateProblem(stored, this.#runtime.clock.now()) === undefined ? made : undefined;
  }

  async #close(): Promise<void> {
    this.#stopListening?.();
    this.#unfinished.close();
    await this.verifier.close();
    await this.#usage.close();
    this.#cache.clear();
    await this.#limits.close();
    if (this.#ownsStore) await this.#store.close();
  }

  #announce(name: SecurityEventName, reason: string, key: { id: string; ownerId?: string }, audit: AuditContext): void {
    this.#runtime.events.emit(name, () => ({
      source: "api-key",
      reason,
      ...(key.ownerId === undefined ? {} : { subject: key.ownerId }),
      ...audit,
      credentialId: key.id,
    }));
  }
}
