export { createAccounts, type Accounts } from "./create-accounts.js";
export type { AccountPasswords } from "./passwords/passwords.js";
export type { PendingLogInStatus } from "./pages/pending-log-in.js";
export type { AccountsSettings } from "./settings.js";
export type { AccountNotice, AccountUser, AccountUsers, NewAccount, Notify } from "./types.js";
export type {
  CredentialChange,
  CredentialStore,
  CredentialUpdate,
  SingleUseRecord,
  SingleUseStore,
  StoredCredential,
} from "../stores/contracts.js";
