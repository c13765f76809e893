import { callerFor, callerForPrincipal } from "../../core/store-caller.js";
import { readablePartsOf } from "../../stores/health/store-fault.js";
import { isKeyId } from "../keys/format.js";
import { type ListApiKeysInput, pageSchema, readInput } from "../keys/input.js";
import { type ApiKeyRecord, publicRecord } from "../keys/records.js";
import type { UsageLog } from "../verification/usage.js";
import { withKeyErrors } from "./guarded-store.js";
import type { ManagementParts } from "./parts.js";

/** A key whose owner is known. */
export interface FoundKey {
  readonly id: string;
  readonly ownerId: string;
  /** @throws ApiKeyError "unreadable" when the record is damaged or of a newer version */
  readonly read: () => ApiKeyRecord;
}

/** Reads keys, with the uses that are not written yet. */
export class KeyReading {
  readonly #store: ManagementParts["store"];
  readonly #usage: UsageLog;

  constructor({ store }: ManagementParts, usage: UsageLog) {
    this.#store = store;
    this.#usage = usage;
  }

  /** See `ApiKeyService.list`. */
  async list(ownerId: string | number, page: ListApiKeysInput): Promise<ApiKeyRecord[]> {
    const read = readInput(pageSchema, page);
    const owner = String(ownerId);
    await this.#usage.settled();
    const keys = await withKeyErrors(this.#store.read((store) => store.list(owner, read), callerForPrincipal(owner)));
    return keys.map((key) => publicRecord(key, this.#usage.pending(key.id)));
  }

  /** See `ApiKeyService.get`. */
  async get(id: string): Promise<ApiKeyRecord | undefined> {
    if (!isKeyId(id)) return undefined;
    await this.#usage.settled();
    const stored = await withKeyErrors(this.#store.read((store) => store.get(id), callerFor(id)));
    return stored === undefined ? undefined : publicRecord(stored, this.#usage.pending(id));
  }

  /** See `ApiKeyService.find`. */
  async find(id: string): Promise<FoundKey | undefined> {
    try {
      const record = await this.get(id);
      return record && { id, ownerId: record.ownerId, read: () => record };
    } catch (error) {
      const { ownerId } = readablePartsOf(error);
      if (ownerId === undefined) throw error;
      const read = (): never => {
        throw error;
      };
      return { id, ownerId, read };
    }
  }
}
