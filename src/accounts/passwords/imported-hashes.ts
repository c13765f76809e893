import { InvalidInputError } from "../../core/portcullis-error.js";
import { faultOf } from "../../stores/health/store-fault.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import type { AccountsContext } from "../context.js";
import { hashCost, hashForm } from "./hash-forms.js";
import { dummyHash } from "./hasher.js";
import { ownRecord } from "./record.js";

/** Owns the records of what comparisons with imported hashes cost. */
const OWNER = "no person, imported hashes";
const KIND = "imported-hash";
/** Each refused log-in does the work of all of them. */
const MOST_COSTS = 20;

/**
 * Remembers what comparisons with imported hashes cost: bcrypt and other parameters of argon2 take another time than a hash
 * of ours. A refused password does the work of every such cost (`PasswordHasher`), so its time does not tell whose hash was
 * imported. A record names each cost, for all processes.
 */
export class ImportedHashes {
  readonly #context: Pick<AccountsContext, "credentials" | "host">;

  constructor(context: Pick<AccountsContext, "credentials" | "host">) {
    this.#context = context;
  }

  /** @throws StoreUnavailableError (rejects) */
  async costs(time?: StoreTime): Promise<readonly string[]> {
    const { credentials, host } = this.#context;
    try {
      const records = await credentials.read((store) => store.listOf(OWNER), OWNER, time);
      return records
        .filter(({ kind }) => kind === KIND)
        .map(({ name }) => name)
        .filter(isCost);
    } catch (error) {
      if (faultOf(error) !== "record") throw error;
      // One damaged record must not refuse everybody.
      const reason = "imported-hash-unreadable";
      host.runtime.events.emit("portcullis_misconfigured", () => ({ source: "accounts", reason }));
      return [];
    }
  }

  /**
   * Records what a comparison with this hash costs, before the hash is stored.
   *
   * @throws InvalidInputError (rejects) when there are as many costs as a refused log-in can bear
   * @throws StoreUnavailableError (rejects)
   */
  async record(hash: string): Promise<void> {
    const cost = hashCost(hash);
    const costs = await this.costs();
    if (costs.includes(cost)) return;
    if (costs.length >= MOST_COSTS)
      throw new InvalidInputError(
        `passwords.import: hashes with ${MOST_COSTS} different parameters have been imported, and each refused log-in costs the work of all.`,
      );
    const id = `imported-${Buffer.from(cost).toString("base64url")}`;
    const insert = [ownRecord({ ownerId: OWNER, kind: KIND, id, name: cost })];
    // False when another process was faster.
    await this.#context.credentials.write((store, call) => store.change(OWNER, { insert }, call), OWNER);
  }
}

/** A name that is no cost would be compared as the hash of ours. */
function isCost(name: string): boolean {
  return hashForm(dummyHash(name)) !== undefined;
}
