import { callerFor } from "../../core/store-caller.js";
import type { AllKeysPage, KeyPosition } from "../../stores/contracts.js";
import { StoreTime } from "../../stores/health/store-time.js";
import { ApiKeyError } from "../errors.js";
import { allKeysSchema, type ListAllApiKeysInput, readInput } from "../keys/input.js";
import { type ApiKeyRecord, publicRecord } from "../keys/records.js";
import type { UsageLog } from "../verification/usage.js";
import { storeWith, withKeyErrors } from "./guarded-store.js";
import type { ManagementParts } from "./parts.js";

type Conditions = Pick<AllKeysPage, "expires" | "unusedSince">;

/** Lists the keys of all owners. */
export class KeyListing {
  readonly #parts: ManagementParts;
  readonly #usage: UsageLog;

  constructor(parts: ManagementParts, usage: UsageLog) {
    this.#parts = parts;
    this.#usage = usage;
  }

  /** See `ApiKeyService.listAll`. */
  async page(input: ListAllApiKeysInput): Promise<ApiKeyRecord[]> {
    const { limit, after, expiresBefore, unusedSince } = readInput(allKeysSchema, input);
    const { store, runtime, options } = this.#parts;
    const listing = storeWith(store.unguarded, "listAll");
    // So that keys used in this process since the last write are not listed as unused.
    await this.#usage.flush();
    const from = runtime.clock.now();
    const conditions: Conditions = {
      expires: expiresBefore === undefined ? undefined : { from, before: expiresBefore },
      unusedSince,
    };
    const time = new StoreTime(options.storeTimeoutMs);
    const position = typeof after === "string" ? await this.#positionOf(after, time) : after;
    // An empty page would say that the listing ends here.
    if (after !== undefined && position === undefined)
      throw badPlace("There is no such key. Pass the last record of the page, not its id, or begin again");
    if (position !== undefined && hasLeft(position, conditions))
      throw badPlace("This key has left the listing. Pass the last record of the page, not its id, or begin again");
    const keys = await withKeyErrors(
      store.read(() => listing.listAll({ limit, after: position, ...conditions }), callerFor("all keys"), time),
    );
    return keys.map((key) => publicRecord(key));
  }

  async #positionOf(id: string, time: StoreTime): Promise<KeyPosition | undefined> {
    return withKeyErrors(this.#parts.store.read((keys) => keys.get(id), callerFor(id), time));
  }
}

/** Whether a key is no longer in the listing: its place in it is not known then. */
function hasLeft(key: KeyPosition, { expires, unusedSince }: Conditions): boolean {
  if (expires !== undefined) return key.expiresAt === null || key.expiresAt >= expires.before;
  return unusedSince !== undefined && (key.lastUsedAt ?? key.createdAt) >= unusedSince;
}

function badPlace(message: string): ApiKeyError {
  return new ApiKeyError("invalid-input", [{ path: "after", message }]);
}
