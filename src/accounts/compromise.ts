import type { Principal } from "../core/principal.js";
import type { ModuleHost } from "../module-host.js";
import { createRevokeAll, type RevokeAll } from "../revoke-all.js";
import type { ResolvedAccountsSettings } from "./settings.js";

/** An API key that still works after a change of the account. */
export interface LivingKey {
  readonly id: string;
  readonly name: string;
}

/** What ends, and why. */
interface Ending {
  /** The credential that made the change. */
  readonly keep?: Principal | undefined;
  readonly reason: string;
  /** Whether the person's API keys end too, whatever the settings say. */
  readonly revokeKeys?: boolean;
}

/** Most keys that a notice lists. */
const LISTED_KEYS = 100;

/** Ends what a person has been logged in with, after a change of password or factor. */
export class Compromise {
  readonly #host: ModuleHost;
  readonly #endsKeys: boolean;
  readonly #endEverything: RevokeAll;
  readonly #endAllButKeys: RevokeAll;

  constructor(host: ModuleHost, { onCompromise }: ResolvedAccountsSettings) {
    this.#host = host;
    this.#endsKeys = onCompromise === "everything";
    const { session, jwt, apiKeys, runtime } = host;
    this.#endEverything = createRevokeAll({ session, jwt, apiKeys }, runtime);
    this.#endAllButKeys = createRevokeAll({ session, jwt, apiKeys: undefined }, runtime);
  }

  /**
   * Ends every session and token family of a person, and their API keys when the settings or the caller say so.
   *
   * @returns the keys that live on, for a notice
   * @throws StoreUnavailableError (rejects); what was accepted holds, and the process repeats the rest
   */
  async end(personId: string, { keep, reason, revokeKeys = false }: Ending): Promise<readonly LivingKey[]> {
    const { apiKeys, runtime } = this.#host;
    const endsKeys = revokeKeys || this.#endsKeys;
    const revokeAll = endsKeys ? this.#endEverything : this.#endAllButKeys;
    await revokeAll(personId, { reason, ...(keep === undefined ? {} : { keep }) });
    if (endsKeys || apiKeys === undefined) return [];
    const now = runtime.clock.now();
    const keys = await apiKeys.list(personId, { limit: LISTED_KEYS }).catch(() => []);
    return keys
      .filter(({ revokedAt, expiresAt }) => revokedAt === null && (expiresAt === null || expiresAt > now))
      .map(({ id, name }) => ({ id, name }));
  }

  /**
   * For a change whose caller was told that it failed: when it was made all the same, or nobody knows, what it was to end
   * ends.
   *
   * @returns what the write of the change calls with its late answer
   */
  endIfLate(personId: string, ending: Ending): (late: boolean | undefined) => void {
    return (late) => {
      if (late !== false) this.end(personId, ending).catch(() => undefined);
    };
  }
}
