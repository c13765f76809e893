import { StoreError } from "../../core/portcullis-error.js";
import type { SingleUseRecord, SingleUseStore } from "../contracts.js";

/** Keeps records that can be used once in this process. */
export class MemorySingleUseStore implements SingleUseStore {
  readonly #records = new Map<string, SingleUseRecord>();

  async init(): Promise<void> {}

  async put(record: SingleUseRecord): Promise<void> {
    if (this.#records.has(record.id)) throw new StoreError("There is a record with this id already.");
    this.#records.set(record.id, Object.freeze(structuredClone(record)));
  }

  async get(kind: string, id: string, now: number): Promise<SingleUseRecord | undefined> {
    const found = this.#records.get(id);
    return found === undefined || found.kind !== kind || found.expiresAt <= now ? undefined : found;
  }

  async take(kind: string, id: string, now: number): Promise<SingleUseRecord | undefined> {
    const found = await this.get(kind, id, now);
    // Nothing is awaited between looking and removing but the promise of `get`, so it is looked at once more.
    return found !== undefined && this.#records.delete(id) ? found : undefined;
  }

  async deleteExpired(now: number): Promise<number> {
    const before = this.#records.size;
    for (const [id, { expiresAt }] of this.#records) if (expiresAt <= now) this.#records.delete(id);
    return before - this.#records.size;
  }

  async close(): Promise<void> {}
}
