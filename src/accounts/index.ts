export { createAccounts, type Accounts } from "./create-accounts.js";
export type { AccountsDependencies } from "./dependencies.js";
export type { AccountPasswords, PasswordVerification } from "./passwords/api.js";
export { PasswordRefusedError } from "./passwords/errors.js";
export type { Argon2 } from "./passwords/hasher.js";
export type { PasswordCheck, PasswordReason } from "./passwords/policy.js";
export type { PasswordFailure } from "./passwords/prover.js";
export type { PendingLogInStatus } from "./pages/pending-log-in.js";
export type {
  AccountsSettings,
  BreachedServiceSettings,
  PasswordSettings,
  ResolvedPasswordSettings,
  TotpSettings,
} from "./settings.js";
export type { AccountNotice, AccountUser, AccountUsers, NewAccount, Notify } from "./types.js";
export type {
  CredentialChange,
  CredentialStore,
  CredentialUpdate,
  SingleUseRecord,
  SingleUseStore,
  StoredCredential,
} from "../stores/contracts.js";
export type { TotpEnrolment } from "./factors/enrolment.js";
export type { AccountFactors, FactorInfo } from "./factors/manage.js";
export type { FreshSettings } from "./step-up/guard.js";
