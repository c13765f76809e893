import type { ProvedMethod } from "../core/authentication.js";

/** A person of the app, as `users` of the settings returns it. The app keeps its users; nothing of them is stored here. */
export interface AccountUser {
  /**
   * The person's id, which never changes and is never given to someone else: 1 to 255 characters, or a safe integer, which
   * is converted to decimal text. Becomes `req.principal.id`.
   */
  readonly id: string | number;
  /** The name with which the person logs in: a user name or an e-mail address. */
  readonly login: string;
  /** Where the app sends mail. Default: none. */
  readonly email?: string | undefined;
  /** Whether the person has shown that the address is theirs. Default: false. */
  readonly emailVerified?: boolean | undefined;
  /** Scopes of the person's sessions and tokens. Default: none. */
  readonly scopes?: readonly string[] | undefined;
  /** Roles of the person. Default: none. */
  readonly roles?: readonly string[] | undefined;
  /** Whether the person may not log in. The answer is that of a wrong password. Default: false. */
  readonly disabled?: boolean | undefined;
}

/** A person who registers. */
export interface NewAccount {
  /** The name that the person chose. */
  readonly login: string;
  /** The verified address: the same as `login` when registration is confirmed by mail. */
  readonly email?: string | undefined;
  /** What else the registration says, for ways in that know more. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
}

/** The app's own table of users. Each function may be asynchronous; one that takes longer than five seconds has failed. */
export interface AccountUsers {
  /** The person who logs in with this name, or nothing. Compare names as the app does, without regard to case, say. */
  findByLogin(login: string): AccountUser | undefined | null | Promise<AccountUser | undefined | null>;
  /** The person with this id, or nothing: then it is the id of a service, which needs no second factor. */
  findById(id: string): AccountUser | undefined | null | Promise<AccountUser | undefined | null>;
  /**
   * Makes a person. Without it there is no registration. Rejecting refuses the registration, and says that nobody was made:
   * when the answer to a commit was lost, look for the person by the id that you gave them, and return them if they are
   * there. Otherwise the name is taken from then on. Returning nothing says that it is taken.
   */
  create?(account: NewAccount): AccountUser | undefined | null | Promise<AccountUser | undefined | null>;
}

/** What the app tells a person, by mail or otherwise. */
export interface AccountNotice {
  /**
   * What happened: `verify-email` and `password-reset` have a link; `account-exists` answers a registration of a name
   * that is taken; the others say what changed in the account.
   */
  readonly kind:
    | "verify-email"
    | "password-reset"
    | "account-exists"
    | "password-changed"
    | "factor-added"
    | "factor-removed"
    | "recovery-codes-made"
    | "recovery-code-used"
    | "factor-locked"
    | "password-disabled"
    | "password-breached";
  /** To whom. Before the registration is confirmed there is only `login`, and `email` when that is an address. */
  readonly user: Omit<AccountUser, "id"> & { readonly id?: string | number };
  /** The page of the app to open, with its token. */
  readonly link?: string;
  /** When the link ends, in milliseconds since the epoch. */
  readonly expiresAt?: number;
  /** API keys of the person that still work after a change: their ids and names. */
  readonly apiKeys?: readonly { readonly id: string; readonly name: string }[];
  /** With `recovery-code-used`: how many codes are left. */
  readonly recoveryCodesLeft?: number;
}

/** Sends a notice. What it rejects with becomes an event; it changes no answer, and no answer waits for it. */
export type Notify = (notice: AccountNotice) => unknown;

/** A person, checked and with every default. */
export interface Person {
  readonly id: string;
  readonly login: string;
  readonly email: string | undefined;
  readonly emailVerified: boolean;
  readonly scopes: readonly string[];
  readonly roles: readonly string[];
  readonly isDisabled: boolean;
  /** As the app returned it. */
  readonly user: AccountUser;
}

/** The methods that a person proves with accounts. */
export type AccountMethod = Extract<ProvedMethod, "pwd" | "totp" | "webauthn" | "recovery" | "federated">;
