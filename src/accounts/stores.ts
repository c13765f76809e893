import type { ModuleHost } from "../module-host.js";
import type { CredentialStore, SingleUseStore } from "../stores/contracts.js";
import { MemoryCredentialStore } from "../stores/memory/credential-store.js";
import { MemorySingleUseStore } from "../stores/memory/single-use-store.js";
import type { ResolvedAccountsSettings } from "./settings.js";

const OWN = "its own";

/** The two stores of accounts, and what `describe()` says of them. */
export interface OpenedAccountStores {
  readonly credentials: CredentialStore;
  readonly singleUse: SingleUseStore;
  /** Where they are. */
  place(): string;
  /** What a restart loses; `undefined` for nothing. */
  readonly lostOnRestart: string | undefined;
}

/** The stores of the settings, otherwise those of the app's Redis and database, otherwise memory. */
export function openAccountStores(host: ModuleHost, { stores: given }: ResolvedAccountsSettings): OpenedAccountStores {
  const { clock } = host.runtime;
  const shared = host.accountStores();
  const kept = given.credentials ?? shared.credentials;
  // An app with Redis has, or will have, several processes.
  const alone = host.settings.redis === undefined ? "" : "; other processes cannot see them";
  return {
    credentials: kept ?? new MemoryCredentialStore({ clock }),
    singleUse: given.singleUse ?? shared.singleUse ?? new MemorySingleUseStore({ clock }),
    place: () => {
      const places = shared.places();
      const credentials = given.credentials === undefined ? places.credentials : OWN;
      const singleUse = given.singleUse === undefined ? places.singleUse : OWN;
      return credentials === singleUse ? credentials : `${credentials}; log-ins under way: ${singleUse}`;
    },
    lostOnRestart: kept === undefined ? `all passwords and second factors${alone}` : undefined,
  };
}

/** Warns that a restart loses what people log in with, except in development. */
export function warnOfLoss({ lostOnRestart }: OpenedAccountStores, debug: boolean): void {
  if (debug || lostOnRestart === undefined) return;
  process.emitWarning(
    `Some data is kept in memory only, and a restart loses it: accounts (${lostOnRestart}). To keep it, set database (DATABASE_URL) of applySecurity, or stores.credentials of createAccounts.`,
    { code: "PORTCULLIS_MEMORY" },
  );
}
