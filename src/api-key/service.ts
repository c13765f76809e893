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

/** A revocation that is under way, or was refused and is repeated. Calls that revoke the same key meanwhile share it. */
interface Revocation {
  /** The `revokedAt` that it writes, also when it is repeated. It shows in the record whose work the revocation was. */
  readonly at: number;
  isAnnounced: boolean;
  wasRefused: boolean;
}

/**
 * Makes, verifies, rotates and revokes API keys. Times are milliseconds since the epoch. Methods that reach the store
 * reject with `StoreUnavailableError` when it does not answer, those that make a key also with `HashUnavailableError`.
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
  /** Reads and writes fail apart: a store that is full still verifies. */
  readonly #reads: StoreGuard;
  readonly #writes: StoreGuard;
  readonly #unfinished = new RepeatedWrites();
  readonly #cache: VerifiedCache;
  readonly #hasher: KeyHasher;
  readonly #limits: KeyLimits;
  readonly #usage: UsageLog;
  readonly #changes: KeyChanges | undefined;
  readonly #stopListening: (() => void) | undefined;
  /** New keys of rotations that a store did after their callers had been refused, by the id of the old key. */
  readonly #undelivered = new LRUCache<string, CreatedApiKey>({ max: MOST_UNDELIVERED, ttl: UNDELIVERED_MS });
  /** By the id of the key. */
  readonly #revocations = new LRUCache<string, Revocation>({ max: MOST_REVOCATIONS, ttl: UNDELIVERED_MS });
  /** @internal For the layer: `verify` without a promise where none is needed, which is whenever the key is remembered. */
  readonly verifier: KeyVerifier;
  #initialised: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /** @throws SettingsError when the settings are wrong, or `hash: "hmac-sha256"` is asked for without a secret */
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

  /** Where creations, rotations, revocations and failed attempts are announced. */
  get events(): SecurityEvents {
    return this.#runtime.events;
  }

  /** Opens the store. Done on first use too; call it at start to learn of a failure there. */
  init(): Promise<void> {
    this.#initialised ??= this.#store.init().catch((error: unknown) => {
      this.#initialised = undefined;
      throw error;
    });
    return this.#initialised;
  }

  /** Writes the last usage counts and closes what the service opened. Never rejects because a count could not be written. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /**
   * Makes a key. The secret is in the answer and nowhere else.
   *
   * @param maker the key or token that asked for it, as `apiKeyRoutes` says; the app's own code by default
   * @throws ApiKeyError (rejects) "invalid-input" listing every issue; "too-many-keys" when the owner's share of a bounded store is
   *   used up; "revoked", "expired" or "rotated" when the key that asked for it does not work any more
   */
  async create(
    input: CreateApiKeyInput,
    audit: AuditContext = {},
    maker: ApiKeyMaker = THE_APP,
  ): Promise<CreatedApiKey> {
    const wanted = readInput(createSchema, input);
    const now = this.#runtime.clock.now();
    if (wanted.expiresAt !== null && wanted.expiresAt <= now)
      throw new ApiKeyError("invalid-input", [{ path: "expiresAt", message: "Not in the future" }]);
    const { key, stored } = await this.#make({ ...wanted, ...maker, firstId: null, createdAt: now });
    // After the hash, which may have waited: what a key makes once it has ended would never work.
    if (maker.path.length > 0) await this.#demandInForce(maker.madeBy);
    await this.#own(
      this.#write(
        (store, call) => store.insert(stored, call),
        // Nobody has this key: the caller was refused.
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
   * Says whether a key is good, and counts its use when it is.
   *
   * @param from `address`: the client's, without which a key bound to addresses is refused and failures are not limited by address
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

  /** The record of a key; `undefined` when there is none. @throws ApiKeyError "unreadable" (rejects) when it is damaged, or of a newer version */
  async get(id: string): Promise<ApiKeyRecord | undefined> {
    if (!isKeyId(id)) return undefined;
    await this.#usage.settled();
    const stored = await this.#own(this.#read((store) => store.get(id)));
    return stored === undefined ? undefined : publicRecord(stored, this.#usage.pending(id));
  }

  /** How often a key was accepted and when last, uses not written yet included; `undefined` when there is no such key. */
  async usage(id: string): Promise<Pick<ApiKeyRecord, "usageCount" | "lastUsedAt"> | undefined> {
    const record = await this.get(id);
    return record === undefined ? undefined : { usageCount: record.usageCount, lastUsedAt: record.lastUsedAt };
  }

  /**
   * Replaces a key by one with the same owner, scopes, limits and expiry. The old one stays valid for `graceSeconds`
   * (0 by default), never beyond its own expiry. A rotation that was refused with "store-unavailable" has changed nothing;
   * where a store did it all the same, rotating the same key again in this process gives out the new key.
   *
   * @param maker the makers of the successor, when they are others than those of the old key
   * @throws ApiKeyError (rejects) "not-found", "revoked", "expired", "rotated", "unreadable", "too-many-keys" or "invalid-input"
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
    // The new key exists and must reach its owner, so a failure here is no failure: the feed goes on trying to tell the others.
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
   * Ends a key for good, and with it every key made with it: a key made with a key ends with it. Keys made with one that was
   * rotated belong to its successor and live on; `descendants: true` ends those and the successors too, also when the key
   * itself is revoked already (it leaked, and whoever had it may have rotated it). A key that has no successor takes with it
   * those it replaced, which may be in their grace. One mark in the store, whatever their number. This process refuses it from now on, others that share a change feed within a second, without one
   * within `cacheSeconds` (src/stores/README.md).
   * @returns false when there is no such key, or it is revoked already and there was nothing left to end;
   *   true once more when this process was refused the same revocation and has it done since
   * @throws ApiKeyError "invalid-input"; StoreUnavailableError when the store was silent or the others untold: this process repeats it until the store has it
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
    // In this order: who is told must not read the key as it was.
    const revoke = async (): Promise<boolean> => {
      await this.init();
      const isDone =
        (await this.#store.revoke(id, revocation.at, reason, descendants)) ||
        (revocation.wasRefused && (await this.#isDone(revocation, id, descendants)));
      if (isDone && !revocation.isAnnounced) {
        revocation.isAnnounced = true;
        this.#announce("authn_token_revoked", "revoked", { id }, audit);
      }
      // Also when there was nothing to do: a call that did it may not have got as far as this.
      await this.#tellOfEnding(id);
      return isDone;
    };
    try {
      // In time as one, and without a guard: a store that is down for others is still asked to revoke.
      const isDone = await withTimeout("api-keys", this.#options.storeTimeoutMs, revoke);
      this.#revocations.delete(id);
      return isDone;
    } catch (error) {
      if (faultOf(error) === "input") {
        this.#revocations.delete(id);
        throw error;
      }
      revocation.wasRefused = true;
      // It may have been done; it is done again until the store has it.
      this.#unfinished.add(id, async () => {
        await revoke();
        this.#cache.evict(id);
      });
      throw error;
    } finally {
      // Also when the store was late: it may have done it.
      this.#cache.evict(id);
    }
  }

  /**
   * Whether a revocation that was refused is why the store had nothing left to do. With descendants the mark on the line is not
   * seen in the record, and any key that exists counts.
   */
  async #isDone({ at }: Revocation, id: string, descendants: boolean): Promise<boolean> {
    const stored = await this.#readable(id);
    return stored !== undefined && (stored.revokedAt === at || descendants);
  }

  /** Makes every process read this key, and the keys that a mark on its line has ended, from the store again. */
  async #tellOfEnding(id: string): Promise<void> {
    const line = (await this.#readable(id))?.firstId ?? id;
    this.#cache.evict(line);
    for (const name of new Set([id, line])) await this.#changes?.publish({ kind: "api-key", name });
  }

  /** The record of a key. None for a damaged one, which is revoked all the same. */
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

  /** @param id of a key that makes another */
  async #demandInForce(id: string | null): Promise<void> {
    const stored = id === null ? undefined : await this.#own(this.#read((store) => store.get(id)));
    const problem = stored === undefined ? "revoked" : stateProblem(stored, this.#runtime.clock.now());
    if (problem !== undefined) throw new ApiKeyError(problem);
  }

  async #read<T>(operation: (store: ApiKeyStore) => Promise<T>, time?: StoreTime, caller?: StoreCaller): Promise<T> {
    return this.#reads.run(() => this.init().then(() => operation(this.#store)), time, caller);
  }

  /** A value the store cannot keep, a record it cannot read, or an owner with too many keys, is the fault of this call alone. */
  async #own<T>(call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      const fault = faultOf(error);
      if (fault === "input")
        throw new ApiKeyError("invalid-input", [{ path: "", message: "The store cannot keep one of the values" }], {
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
   * What a rotation made although its caller was refused; given out once, and only while it is in force. It is not there when
   * a rotation that was in doubt has not taken place.
   */
  async #takeUndelivered(
    id: string,
    maker: ApiKeyMaker | undefined,
    time: StoreTime,
  ): Promise<CreatedApiKey | undefined> {
    const made = this.#undelivered.get(id);
    // Nobody gets a key that does not end with all its makers.
    if (made === undefined || maker?.path.some((by) => !made.record.path.includes(by)) === true) return undefined;
    const stored = await this.#own(this.#read((store) => store.get(made.record.id), time));
    // Another call may have taken it meanwhile.
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
