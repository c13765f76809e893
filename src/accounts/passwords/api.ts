import { InvalidInputError } from "../../core/portcullis-error.js";
import { SetupError } from "../../core/setup-error.js";
import type { AccountsContext } from "../context.js";
import type { Person } from "../types.js";
import type { TrustedDevices } from "./devices.js";
import { PasswordRefusedError } from "./errors.js";
import { hashForm } from "./hash-forms.js";
import type { ImportedHashes } from "./imported-hashes.js";
import { loadBcrypt } from "./load-bcrypt.js";
import { type NewPassword, passwordCredential, type PasswordMaker } from "./new-password.js";
import type { PasswordCheck } from "./policy.js";
import type { PasswordFailure, PasswordProver } from "./prover.js";
import { ENDS_WITH_PASSWORD, PASSWORD_KIND, passwordData } from "./record.js";
import type { PasswordRules } from "./rules.js";

/** Whether a password is a person's. */
export interface PasswordVerification {
  /** Whether the password is the person's. */
  readonly ok: boolean;
  /** Why not: one word, or none when it is. */
  readonly reasons: readonly PasswordFailure[];
}

/** Passwords of people, for the app's own code. Ids are those of `users`. */
export interface AccountPasswords {
  /**
   * Sets the password of a person, whatever it was. In place of another one it ends the person's sessions, token families
   * and, with `onCompromise: "everything"`, API keys.
   *
   * @throws PasswordRefusedError (rejects) when the rules do not allow it; beside a second factor a shorter one will do
   * @throws InvalidInputError (rejects) when `users.findById` knows no person with this id, or the second factor beside
   * which it is short has changed meanwhile; call it again then
   * @throws StoreUnavailableError (rejects) @throws UsersUnavailableError (rejects)
   * @throws HashUnavailableError (rejects) when too many passwords are hashed
   */
  set(id: string | number, password: string): Promise<void>;
  /**
   * Whether this is the password of a person. A wrong one counts as a failure in a row, as at a log-in; after
   * `maxConsecutiveFailures` of them no password is right.
   *
   * @throws StoreUnavailableError (rejects) @throws UsersUnavailableError (rejects)
   * @throws HashUnavailableError (rejects) when too many passwords are hashed
   * @throws SetupError (rejects) when bcrypt has hashed it and the package bcrypt is not installed
   */
  verify(id: string | number, password: string): Promise<PasswordVerification>;
  /**
   * Whether a password may be used: for a form, or to warn. Nothing is stored.
   *
   * @param options `context`: words that it must not be made of, such as the login and the address; `hasSecondFactor`:
   * whether `minLengthWithSecondFactor` is enough (default false)
   */
  check(
    password: string,
    options?: { readonly context?: readonly string[]; readonly hasSecondFactor?: boolean },
  ): Promise<PasswordCheck>;
  /**
   * Takes the password of a person away, and ends what `set` ends.
   *
   * @returns whether there was one
   * @throws StoreUnavailableError (rejects)
   */
  remove(id: string | number): Promise<boolean>;
  /**
   * Takes over a hash of another system: PHC text of argon2 (`m` up to 131072, `t` up to 64, `m` × `t` up to 524288, `p` up
   * to 16) or bcrypt text (`$2a$`, `$2b$`, `$2y$`, cost 4 to 14), which needs the package bcrypt. The first log-in hashes
   * the password anew, but for one of 72 bytes or more under bcrypt, which reads no more. A person who has a password keeps
   * it, so an import can be repeated. From then on each refused log-in, of anybody, also costs a comparison with a hash of
   * these parameters, so that its time does not tell whose hash was imported. At most 20 different costs can be imported.
   *
   * @returns whether it was taken over; false for a person who has a password
   * @throws InvalidInputError (rejects) when the text is no such hash or brings a 21st cost, or nobody has this id
   * @throws SetupError (rejects) when the package bcrypt is needed and not installed
   * @throws StoreUnavailableError (rejects) @throws UsersUnavailableError (rejects)
   */
  import(id: string | number, hash: string): Promise<boolean>;
}

type MadePassword = Extract<NewPassword, { readonly ok: true }>;

/** What `passwords` of accounts does. */
export function passwordsApi(
  context: AccountsContext,
  parts: {
    readonly rules: PasswordRules;
    readonly maker: PasswordMaker;
    readonly prover: PasswordProver;
    readonly devices: TrustedDevices;
    readonly imported: ImportedHashes;
  },
): AccountPasswords {
  const { credentials, users, holdings, compromise, host } = context;
  const { clock, events } = host.runtime;

  async function personOf(name: string, id: string | number): Promise<Person> {
    const person = await users.findById(String(id));
    if (person === undefined)
      throw new InvalidInputError(`passwords.${name}: users.findById knows no person with this id.`);
    return person;
  }

  async function hasPassword(id: string): Promise<boolean> {
    return (await holdings.credentialsOf(id)).some(({ kind }) => kind === PASSWORD_KIND);
  }

  /** Replaces the password and ends what it opened. Returns whether there was one. */
  async function replace(id: string, made: MadePassword | undefined, reason: string): Promise<boolean> {
    const hadPassword = await hasPassword(id);
    if (!hadPassword && made === undefined) return false;
    const insert = made === undefined ? [] : [passwordCredential(id, made.data, clock.now())];
    // The first password takes a name that is free. When another call was faster, this one replaces a password after all.
    const removeKinds = ENDS_WITH_PASSWORD.filter((kind) => hadPassword || kind !== PASSWORD_KIND);
    const change = { removeKinds, update: made?.update ?? [], insert };
    const ending = compromise.of(id, { reason });
    if (hadPassword) await ending.end();
    if (!(await credentials.write((store, call) => store.change(id, change, call), id))) {
      if (!hadPassword && (await hasPassword(id))) return replace(id, made, reason);
      throw new InvalidInputError("passwords.set: the person's factors have changed meanwhile. Call it again.");
    }
    events.emit("authn_password_change", () => ({ source: "accounts", reason, subject: id }));
    // For a log-in in between. Its store has announced a failure, and what it accepted is repeated until it holds.
    if (hadPassword) await ending.end().catch(() => undefined);
    return hadPassword;
  }

  return Object.freeze({
    async set(given: string | number, password: string) {
      const person = await personOf("set", given);
      const own = await holdings.credentialsOf(person.id);
      const made = await parts.maker.newPasswordData(person, checkedText("set", password), own, []);
      if (!made.ok) throw new PasswordRefusedError(made.reasons);
      await replace(person.id, made, "password-set");
      await parts.devices.forgetFailures(person);
    },

    async verify(given: string | number, password: string) {
      const person = await users.findById(String(given));
      const login = person?.login ?? String(given);
      const typed = checkedText("verify", password);
      const time = credentials.time();
      const proof = await parts.prover.prove({ person, login, typed, req: undefined, callers: [], time });
      return { ok: proof.ok, reasons: proof.ok ? [] : [proof.reason] };
    },

    async check(
      password: string,
      {
        context: words = [],
        hasSecondFactor = false,
      }: { readonly context?: readonly string[]; readonly hasSecondFactor?: boolean } = {},
    ) {
      const { ok, reasons } = await parts.rules.check(checkedText("check", password), { words }, hasSecondFactor);
      return { ok, reasons };
    },

    remove: (given: string | number) => replace(String(given), undefined, "password-removed"),

    async import(given: string | number, hash: string) {
      const form = hashForm(checkedText("import", hash));
      if (form === undefined)
        throw new InvalidInputError(
          "passwords.import: this is no hash of argon2 (PHC text, within the limits) or bcrypt (cost 4 to 14).",
        );
      if (form === "bcrypt") await loadBcrypt();
      const { id } = await personOf("import", given);
      if (await hasPassword(id)) return false;
      await parts.imported.record(hash);
      const entry = passwordCredential(id, passwordData({ hash, isLong: false, isImported: true }), clock.now());
      // The name of a person's password is taken while they have one.
      return credentials.write((store, call) => store.change(id, { insert: [entry] }, call), id);
    },
  });
}

function checkedText(name: string, text: unknown): string {
  if (typeof text !== "string") throw new InvalidInputError(`passwords.${name} needs the text as a string.`);
  return text;
}

/** `passwords` of accounts without passwords: every function says so. */
export const NO_PASSWORDS: AccountPasswords = Object.freeze({
  set: off,
  verify: off,
  check: off,
  remove: off,
  import: off,
});

async function off(): Promise<never> {
  throw new SetupError("This app has no passwords: passwords of createAccounts is false. Leave it out.");
}
