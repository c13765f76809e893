import type { Principal } from "../core/principal.js";
import type { ModuleHost } from "../module-host.js";
import { createCutOff, type CutOff } from "../revoke-all.js";
import type { ResolvedAccountsSettings } from "./settings.js";

/** An API key that still works after a change of the account. */
export interface LivingKey {
  readonly id: string;
  readonly name: string;
}

/** What changed, and what ends besides sessions and tokens. */
interface Cause {
  readonly reason: string;
  /** Whether the person's API keys end too, whatever the settings say. */
  readonly revokeKeys?: boolean;
}

/** The end of what a person has been logged in with, for one change. It is announced once, however often it is made. */
export interface Ending {
  /**
   * Ends every session and token family of the person, and their API keys when the settings or the cause say so.
   *
   * @param keep the credential that made the change
   * @returns the keys that live on, for a notice
   * @throws StoreUnavailableError (rejects); what was accepted holds, and the process repeats the rest
   */
  end(keep?: Principal): Promise<readonly LivingKey[]>;
  /**
   * For a change whose caller was told that it failed: when it was made all the same, or nobody knows, what it was to end
   * ends. The write of the change calls it with its late answer.
   */
  readonly endIfLate: (late: boolean | undefined) => void;
}

/** Most keys that a notice lists. */
const LISTED_KEYS = 100;

/** Ends what a person has been logged in with, after a change of password or factor. */
export class Compromise {
  readonly #host: ModuleHost;
  readonly #endsKeys: boolean;
  readonly #endEverything: CutOff;
  readonly #endAllButKeys: CutOff;

  constructor(host: ModuleHost, { onCompromise }: ResolvedAccountsSettings) {
    this.#host = host;
    this.#endsKeys = onCompromise === "everything";
    const { session, jwt, apiKeys, runtime } = host;
    this.#endEverything = createCutOff({ session, jwt, apiKeys }, runtime);
    this.#endAllButKeys = createCutOff({ session, jwt, apiKeys: undefined }, runtime);
  }

  /** The same one before a change and after it: for a log-in in between. */
  of(personId: string, { reason, revokeKeys = false }: Cause): Ending {
    const endsKeys = revokeKeys || this.#endsKeys;
    const cutOff = endsKeys ? this.#endEverything : this.#endAllButKeys;
    let isAnnounced = false;
    const end = async (keep?: Principal): Promise<readonly LivingKey[]> => {
      await cutOff(personId, { reason, ...(keep === undefined ? {} : { keep }) }, isAnnounced);
      isAnnounced = true;
      return endsKeys ? [] : this.#keysOf(personId);
    };
    const endIfLate = (late: boolean | undefined): void => {
      if (late !== false) end().catch(() => undefined);
    };
    return { end, endIfLate };
  }

  async #keysOf(personId: string): Promise<readonly LivingKey[]> {
    const { apiKeys, runtime } = this.#host;
    if (apiKeys === undefined) return [];
    const now = runtime.clock.now();
    const keys = await apiKeys.list(personId, { limit: LISTED_KEYS }).catch(() => []);
    return keys
      .filter(({ revokedAt, expiresAt }) => revokedAt === null && (expiresAt === null || expiresAt > now))
      .map(({ id, name }) => ({ id, name }));
  }
}
