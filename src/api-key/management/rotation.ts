import { callerFor } from "../../core/store-caller.js";
import { BoundedCache } from "../../core/bounded-cache.js";
import { callWithoutCircuit } from "../../stores/health/store-guard.js";
import { StoreTime } from "../../stores/health/store-time.js";
import { type ApiKeyMaker, graceEnd, stateProblem } from "../decide.js";
import { ApiKeyError } from "../errors.js";
import { readInput, type RotateApiKeyInput, rotateSchema } from "../keys/input.js";
import { publicRecord } from "../keys/records.js";
import type { AuditContext, CreatedApiKey } from "../types.js";
import type { KeyCreation } from "./creation.js";
import { withKeyErrors } from "./guarded-store.js";
import { announceKey, changeableKey, type ManagementParts, TRACKED } from "./parts.js";

/** A rotation begins again when an update has changed the key meanwhile: the new key must not undo the update. */
const ATTEMPTS = 3;

/** Replaces keys by new ones. */
export class KeyRotation {
  readonly #parts: ManagementParts;
  readonly #creation: KeyCreation;
  /** New keys of rotations that the store completed after the caller had been refused, by the id of the old key. */
  readonly #undelivered = new BoundedCache<CreatedApiKey>({ max: TRACKED.rotations, ttl: TRACKED.forMs });
  /** By the id of the key. Of concurrent rotations of one key, only the first makes and hashes a new key. */
  readonly #underWay = new Map<string, Promise<CreatedApiKey>>();

  constructor(parts: ManagementParts, creation: KeyCreation) {
    this.#parts = parts;
    this.#creation = creation;
  }

  /** See `ApiKeyService.rotate`. */
  async rotate(
    id: string,
    input: RotateApiKeyInput,
    audit: AuditContext,
    maker: ApiKeyMaker | undefined,
  ): Promise<CreatedApiKey> {
    const { graceSeconds } = readInput(rotateSchema, input);
    const first = this.#underWay.get(id);
    if (first !== undefined) {
      // Rejects as the first does: then nothing was rotated.
      await first;
      throw new ApiKeyError("rotated");
    }
    const rotation = this.#begin(id, graceSeconds, audit, maker).finally(() => this.#underWay.delete(id));
    this.#underWay.set(id, rotation);
    return rotation;
  }

  async #begin(
    id: string,
    graceSeconds: number,
    audit: AuditContext,
    maker: ApiKeyMaker | undefined,
  ): Promise<CreatedApiKey> {
    const time = new StoreTime(this.#parts.options.storeTimeoutMs);
    const undelivered = await this.#takeUndelivered(id, maker, time);
    if (undelivered !== undefined) {
      announceKey(this.#parts, "authn_token_created", "rotated", undelivered.record, audit);
      return undelivered;
    }
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const made = await this.#replace(id, graceSeconds, audit, maker, time);
      if (made !== undefined) return made;
    }
    throw new ApiKeyError("rotated");
  }

  /** Returns undefined when the key has changed since it was read. */
  async #replace(
    id: string,
    graceSeconds: number,
    audit: AuditContext,
    maker: ApiKeyMaker | undefined,
    time: StoreTime,
  ): Promise<CreatedApiKey | undefined> {
    const old = await changeableKey(this.#parts, id, time);
    const announced = this.#publish(id);
    announced.catch(() => undefined); // awaited below, unless the hash fails before
    const { key, stored } = await time.besides(() =>
      this.#creation.make({ ...old, ...maker, createdAt: this.#parts.runtime.clock.now() }),
    );
    // Announced before it is written: a rotation that could only be announced too late would leave the old key valid
    // elsewhere, and cannot be undone.
    await callWithoutCircuit("api-keys", time.begin().ms, () => announced);
    let done: boolean;
    try {
      done = await withKeyErrors(
        this.#parts.store.write(
          (store, call) => store.rotate(id, stored, graceEnd(stored.createdAt, graceSeconds, old.expiresAt), call),
          callerFor(id),
          (isDone) => void (isDone !== false && this.#undelivered.set(id, { key, record: publicRecord(stored) })),
          time,
        ),
      );
    } finally {
      this.#parts.cache.evict(id);
    }
    if (!done) return undefined;
    // Sooner than by the announcement alone. The new key exists and must reach its owner, so an error is ignored.
    await callWithoutCircuit("api-keys", time.begin().ms, () => this.#publish(id)).catch(() => undefined);
    announceKey(this.#parts, "authn_token_created", "rotated", stored, audit);
    announceKey(this.#parts, "authn_token_revoked", graceSeconds > 0 ? "rotated-with-grace" : "rotated", old, audit);
    return { key, record: publicRecord(stored) };
  }

  /** Makes every process read the key from the store again, also for some time after the rotation. */
  async #publish(id: string): Promise<void> {
    await this.#parts.changes?.publish({ kind: "api-key", name: id });
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
    const stored = await withKeyErrors(
      this.#parts.store.read((store) => store.get(made.record.id), callerFor(id), time),
    );
    // Another call may have returned it meanwhile.
    if (stored === undefined || this.#undelivered.peek(id) !== made) return undefined;
    this.#undelivered.delete(id);
    // The store completed it late, maybe after every process had read the old record again.
    this.#parts.cache.evict(id);
    await callWithoutCircuit("api-keys", time.begin().ms, () => this.#publish(id)).catch(() => undefined);
    return stateProblem(stored, this.#parts.runtime.clock.now()) === undefined ? made : undefined;
  }
}
