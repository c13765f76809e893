import { HashQueue } from "../../api-key/keys/hash-queue.js";
import { InvalidInputError } from "../../core/portcullis-error.js";
import type { AccountsContext, AccountsPart } from "../context.js";
import { PasswordHasher } from "./hasher.js";
import { passwordLogIn } from "./log-in.js";
import { type PasswordMaker, passwordMaker } from "./new-password.js";
import { passwordCredential } from "./record.js";

/** Passwords of people, for the app's own code. */
export interface AccountPasswords {
  /** Sets the password of a person, whatever it was. */
  set(id: string, password: string): Promise<void>;
}

/** What the part offers: `api` to the app, `maker` to reset and registration; without passwords there is no `maker`. */
export interface PasswordsPart extends AccountsPart {
  readonly api: AccountPasswords;
  readonly maker: PasswordMaker | undefined;
}

/** Passwords: log-in, and what the app does with them. */
export function createPasswords(context: AccountsContext): PasswordsPart {
  const hasher = new PasswordHasher(new HashQueue(2, 32));
  const { credentials, users, host, settings } = context;
  const api: AccountPasswords = {
    async set(id, password) {
      const person = await users.findById(id);
      if (person === undefined)
        throw new InvalidInputError("passwords.set: users.findById knows no person with this id.");
      const hash = await hasher.hash(password, []);
      const now = host.runtime.clock.now();
      const isLong =
        settings.passwords !== false && [...password.normalize("NFKC")].length >= settings.passwords.minLength;
      const entry = passwordCredential(id, { hash, isLong }, now);
      await credentials.write(
        (store, call) => store.change(id, { removeKinds: ["password"], insert: [entry] }, call),
        id,
      );
    },
  };
  const maker = settings.passwords === false ? undefined : passwordMaker(settings.passwords, hasher);
  return { api, maker, routes: [passwordLogIn(context, hasher)] };
}
