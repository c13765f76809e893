import type { StoreTime } from "../../stores/health/store-time.js";
import type { AccountsContext } from "../context.js";
import { ownRecord } from "./record.js";

/** Owns the records in which failures of nobody are counted. */
const OWNER = "no person";
const KIND = "nobody";
/** A record for each first character of an account's hash (base64url): few, and strangers seldom wait for each other. */
const CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/**
 * Counts failures of names that nobody has, in records that are there for it. A write that changes nothing takes a database
 * less time than one that does, since it waits for no disk, and so would tell which names exist.
 */
export class Nobody {
  readonly #credentials: AccountsContext["credentials"];

  constructor({ credentials }: Pick<AccountsContext, "credentials">) {
    this.#credentials = credentials;
  }

  /** Makes the records that are not there yet. Another process may make them at the same time. */
  async init(): Promise<void> {
    const { store } = this.#credentials;
    const present = new Set((await store.listOf(OWNER)).map(({ id }) => id));
    const insert = [...CHARACTERS]
      .map(idOf)
      .filter((id) => !present.has(id))
      .map((id) => ownRecord({ ownerId: OWNER, kind: KIND, id, name: id }));
    if (insert.length > 0) await store.change(OWNER, { insert });
  }

  /**
   * @param account the hash of a name
   * @throws StoreUnavailableError (rejects)
   */
  async addFailure(account: string, time: StoreTime): Promise<void> {
    const id = idOf(account.charAt(0));
    await this.#credentials.write((store, call) => store.addFailure(id, call), `nobody ${account}`, time);
  }
}

function idOf(character: string): string {
  return `nobody-${character}`;
}
