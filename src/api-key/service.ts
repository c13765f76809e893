import { callerFor } from "../core/store-caller.js";
import type { SecurityEvents } from "../core/events.js";
import { maskKeysWith } from "../core/mask-credentials.js";
import { partRuntime, type Runtime } from "../core/runtime.js";
import { principalIdSchema } from "../settings/identity.js";
import { parse } from "../settings/object.js";
import { announceOverload } from "../stores/health/call-events.js";
import { RepeatedWrites } from "../stores/health/repeated-writes.js";
import { MemoryApiKeyStore } from "../stores/memory/api-key-store.js";
import type { ApiKeyMaker } from "./decide.js";
import { HashQueue } from "./keys/hash-queue.js";
import { KeyHasher } from "./keys/hashing.js";
import {
  type ApiKeyReportInput,
  type CreateApiKeyInput,
  type ListAllApiKeysInput,
  type ListApiKeysInput,
  readInput,
  type RevokeAllApiKeysInput,
  revokeAllSchema,
  type RevokeApiKeyInput,
  type RotateApiKeyInput,
  type UpdateApiKeyInput,
} from "./keys/input.js";
import { type ApiKeyRecord, publicRecord } from "./keys/records.js";
import { KeyCreation } from "./management/creation.js";
import { GuardedKeyStore } from "./management/guarded-store.js";
import { KeyListing } from "./management/listing.js";
import { type FoundKey, KeyReading } from "./management/reading.js";
import { type ApiKeyReport, reportOn } from "./management/report.js";
import { type EndOfOwner, OwnerRevocation } from "./management/owner-revocation.js";
import type { ManagementParts } from "./management/parts.js";
import { KeyRevocation } from "./management/revocation.js";
import { KeyRotation } from "./management/rotation.js";
import { KeyUpdate } from "./management/update.js";
import { apiKeySchema, type ApiKeySettings, missingSecret, type ResolvedApiKeySettings } from "./settings.js";
import type { ApiKeyServiceDependencies, AuditContext, CreatedApiKey } from "./types.js";
import { KeyLimits } from "./verification/limits.js";
import type { ApiKeyVerification } from "./verification/result.js";
import { UsageLog } from "./verification/usage.js";
import { VerifiedCache } from "./verification/verified-cache.js";
import { KeyVerifier } from "./verification/verifier.js";

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
  readonly #parts: ManagementParts;
  readonly #creation: KeyCreation;
  readonly #rotation: KeyRotation;
  readonly #revocation: KeyRevocation;
  readonly #update: KeyUpdate;
  readonly #ownerRevocation: OwnerRevocation;
  readonly #ownsStore: boolean;
  readonly #limits: KeyLimits;
  readonly #usage: UsageLog;
  readonly #listing: KeyListing;
  readonly #reading: KeyReading;
  readonly #stopListening: (() => void) | undefined;
  /** @internal For the layer: `verify` without a promise when none is needed, that is, when the key is cached. */
  readonly verifier: KeyVerifier;
  /** @internal The prefixes of keys that it accepts; the first is that of new keys. */
  readonly prefixes: readonly string[];
  #closed: Promise<void> | undefined;

  /** @throws SettingsError when the settings are wrong, or `hash: "hmac-sha256"` is set without a secret */
  constructor(settings: ApiKeySettings = {}, deps: ApiKeyServiceDependencies = {}) {
    const options = parse(apiKeySchema, settings);
    const secrets = options.secret ?? deps.secretKey ?? [];
    if (options.hash === "hmac-sha256" && secrets.length === 0) throw missingSecret();
    this.prefixes = Object.freeze([options.prefix, ...options.formerPrefixes]);
    for (const prefix of this.prefixes) maskKeysWith(prefix);
    const runtime = deps.runtime ?? partRuntime(deps);
    this.#ownsStore = options.store !== undefined || deps.store === undefined;
    const given = options.store ?? deps.store ?? new MemoryApiKeyStore({ clock: runtime.clock });
    const store = new GuardedKeyStore(given, runtime, options.storeTimeoutMs);
    const queue = new HashQueue(options.hashConcurrency, options.hashQueue, () =>
      announceOverload(runtime, "api-keys", "queue"),
    );
    const hasher = new KeyHasher(options.hash, secrets, queue);
    const cache = new VerifiedCache(options.cacheSize, runtime.clock, options.storeTimeoutMs);
    const { changes } = deps;
    const unfinished = new RepeatedWrites(runtime, "api-keys-writes");
    this.#parts = { options, runtime, store, cache, hasher, unfinished, changes };
    this.#creation = new KeyCreation(this.#parts);
    this.#rotation = new KeyRotation(this.#parts, this.#creation);
    this.#revocation = new KeyRevocation(this.#parts);
    this.#update = new KeyUpdate(this.#parts);
    this.#ownerRevocation = new OwnerRevocation(this.#parts);
    this.#limits = new KeyLimits(options.failures, runtime, options.storeTimeoutMs, deps.limiter);
    this.#usage = new UsageLog(
      (batch) => store.write((keys, call) => keys.addUsage(batch, call), callerFor("usage")),
      runtime.clock,
      options.usageFlushSeconds,
    );
    this.#listing = new KeyListing(this.#parts, this.#usage);
    this.#reading = new KeyReading(this.#parts, this.#usage);
    this.verifier = new KeyVerifier({
      prefixes: this.prefixes,
      cacheMs: options.cacheSeconds * 1000,
      runtime,
      cache,
      hasher,
      limits: this.#limits,
      usage: this.#usage,
      get: (id, from) => store.read((keys) => keys.get(id), from),
      replaceHash: (id, from, to) => store.write((keys) => keys.replaceHash(id, from, to), callerFor(id)),
      changes,
    });
    this.#stopListening = changes?.onKeyChange((change) => {
      if (change === undefined) cache.clear();
      else if (change.kind === "owner") cache.evictAllOf(change.name);
      else cache.evict(change.name);
    });
  }

  /** The effective settings; secrets print as `[secret]`. */
  get options(): ResolvedApiKeySettings {
    return this.#parts.options;
  }

  /** @internal For the layer and the routes. */
  get runtime(): Runtime {
    return this.#parts.runtime;
  }

  /** Announces creations, rotations, revocations and failed attempts. */
  get events(): SecurityEvents {
    return this.#parts.runtime.events;
  }

  /** Opens the store. This also happens on first use; call it at start to detect a failure early. */
  init(): Promise<void> {
    return this.#parts.store.init();
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
  async create(input: CreateApiKeyInput, audit: AuditContext = {}, maker?: ApiKeyMaker): Promise<CreatedApiKey> {
    return this.#creation.create(input, audit, maker);
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
    return this.#reading.list(ownerId, page);
  }

  /**
   * The keys of all owners, for administrators: `limit` of them (50; at most 100) after the key `after`. A page that is
   * shorter than its limit is the last.
   *
   * - Without a condition: newest first, ended ones included.
   * - `expiresBefore`: keys that are neither revoked nor replaced and expire from now on and before this time; the first
   *   to expire first.
   * - `unusedSince`: keys that are neither revoked nor replaced, expired ones included, with no use (or, if never used,
   *   no creation) at this time or later; the longest unused first. A use counts once it is written
   *   (`usageFlushSeconds`).
   *
   * `after` is the last record of the page before, or its id. With the id, its place is read again: a key that is gone or has
   * left the listing since is "invalid-input".
   *
   * @throws ApiKeyError "invalid-input"; SetupError when the app's own store has no `listAll`
   *
   * @example
   * ```ts
   * import { ApiKeyService } from "portcullis";
   *
   * const keys = new ApiKeyService();
   * const monthAgo = Date.now() - 30 * 86_400_000;
   * let page = await keys.listAll({ unusedSince: monthAgo });
   * while (page.length > 0) {
   *   for (const { id } of page) await keys.revoke(id, { reason: "unused" });
   *   page = await keys.listAll({ unusedSince: monthAgo, after: page.at(-1) });
   * }
   * ```
   */
  async listAll(page: ListAllApiKeysInput = {}): Promise<ApiKeyRecord[]> {
    return this.#listing.page(page);
  }

  /**
   * Names the keys that an administrator should look at: unused, expiring and over-wide ones. Reads at most twelve pages
   * of keys; `next` says where to go on.
   *
   * @throws ApiKeyError "invalid-input"; SetupError when the app's own store has no `listAll`
   *
   * @example
   * ```ts
   * import { ApiKeyService } from "portcullis";
   *
   * const keys = new ApiKeyService();
   * const { unused, expiring, overWide } = await keys.report({ unusedDays: 60 });
   * console.log(unused.length, expiring.length, overWide.map(({ record, reasons }) => [record.id, reasons]));
   * ```
   */
  async report(input: ApiKeyReportInput = {}): Promise<ApiKeyReport> {
    return reportOn(this.#listing, input, this.#parts.runtime.clock.now());
  }

  /**
   * Changes the given fields of a key and returns its record. Every process that shares a change feed uses them within
   * a second, the others within `cacheSeconds`. Scopes, roles, addresses and the limit of keys made with this key stay;
   * an earlier `expiresAt` holds for them too. The window of a limit cannot be changed, because the keys of a lineage
   * are counted in one log; a key made with another key gets no higher limit and no later expiry than that key.
   *
   * @throws ApiKeyError (rejects) "invalid-input" listing every issue, "not-found", "revoked", "expired", "rotated" or
   * "unreadable"; StoreUnavailableError when the store did not respond or the other processes could not be notified:
   * the key is then unchanged, unless the answer to its COMMIT was lost, and the same call may be made again;
   * SetupError when the app's own store has no `update`
   *
   * @example
   * ```ts
   * import { ApiKeyService } from "portcullis";
   *
   * const keys = new ApiKeyService();
   * const { record } = await keys.create({ ownerId: "ada", name: "CI", scopes: ["orders:*"] });
   * await keys.update(record.id, { scopes: ["orders:read"], expiresAt: "2030-01-31T12:00:00Z" });
   * ```
   */
  async update(id: string, input: UpdateApiKeyInput, audit: AuditContext = {}): Promise<ApiKeyRecord> {
    return publicRecord(await this.#update.update(id, input, audit), this.#usage.pending(id));
  }

  /**
   * Ends all keys of an owner for good, with one mark in the store, however many there are. Keys that are being created
   * meanwhile end too, unless their creation begins after the mark. This process refuses them immediately, others within
   * a second if they share a change feed, and otherwise within `cacheSeconds`.
   *
   * @returns how many keys that were not revoked before it ended; `undefined` when that is not known within
   * `storeTimeoutMs`: the mark holds, and the records are completed in the background
   * @throws ApiKeyError (rejects) "invalid-input"; StoreUnavailableError when the store did not respond or the other
   * processes were not notified: this process retries until the store has it; SetupError when the app's own store has
   * no `revokeAllOf`
   *
   * @example
   * ```ts
   * import { ApiKeyService } from "portcullis";
   *
   * const keys = new ApiKeyService();
   * await keys.revokeAllOf("team-red", { reason: "contract ended" });
   * ```
   */
  async revokeAllOf(
    ownerId: string | number,
    input: RevokeAllApiKeysInput = {},
    audit: AuditContext = {},
  ): Promise<number | undefined> {
    const { reason } = readInput(revokeAllSchema, input);
    return this.#ownerRevocation.end({ ownerId: readInput(principalIdSchema, ownerId), reason }, audit);
  }

  /** @internal For `security.revokeAll`. */
  async endAllOf(end: EndOfOwner): Promise<number | undefined> {
    return this.#ownerRevocation.end(end, {});
  }

  /**
   * Returns the record of a key, or `undefined` when there is none.
   *
   * @throws ApiKeyError "unreadable" (rejects) when the record is damaged or of a newer version
   */
  async get(id: string): Promise<ApiKeyRecord | undefined> {
    return this.#reading.get(id);
  }

  /**
   * @internal For the routes: like `get`, but an unreadable record is an error only when it is read, or when not even
   * its owner can be read.
   */
  async find(id: string): Promise<FoundKey | undefined> {
    return this.#reading.find(id);
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
   * Other processes refuse the old key within a second if they share a change feed, and otherwise within
   * `cacheSeconds`.
   *
   * @param maker the makers of the successor, when they differ from those of the old key
   * @throws ApiKeyError (rejects) "not-found", "revoked", "expired", "rotated", "unreadable", "too-many-keys" or
   * "invalid-input"; StoreUnavailableError when the store did not respond or the other processes could not be notified
   */
  async rotate(
    id: string,
    input: RotateApiKeyInput = {},
    audit: AuditContext = {},
    maker?: ApiKeyMaker,
  ): Promise<CreatedApiKey> {
    return this.#rotation.rotate(id, input, audit, maker);
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
    return this.#revocation.revoke(id, input, audit);
  }

  async #close(): Promise<void> {
    this.#stopListening?.();
    this.#ownerRevocation.close();
    this.#parts.unfinished.close();
    await this.verifier.close();
    await this.#usage.close();
    this.#parts.cache.clear();
    await this.#limits.close();
    if (this.#ownsStore) await this.#parts.store.unguarded.close();
  }
}
