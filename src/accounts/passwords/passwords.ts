import { HashQueue } from "../../api-key/keys/hash-queue.js";
import { InvalidInputError } from "../../core/portcullis-error.js";
import type { AccountsContext, AccountsPart } from "../context.js";
import { newId } from "../secrets.js";
import { PasswordHasher } from "./hasher.js";
import { passwordLogIn } from "./log-in.js";

/** Passwords of people, for the app's own code. */
export interface AccountPasswords {
  /** Sets the password of a person, whatever it was. */
  set(id: string, password: string): Promise<void>;
}

/** Passwords: log-in, and what the app does with them. */
export function createPasswords(context: AccountsContext): AccountsPart & { readonly api: AccountPasswords } {
  const hasher = new PasswordHasher(new HashQueue(2, 32));
  const { credentials, users, host } = context;
  const api: AccountPasswords = {
    async set(id, password) {
      const person = await users.findById(id);
      if (person === undefined)
        throw new InvalidInputError("passwords.set: users.findById knows no person with this id.");
      const hash = await hasher.hash(password, []);
      const now = host.runtime.clock.now();
      const entry = {
        id: newId(),
        ownerId: id,
        kind: "password",
        name: id,
        data: { hash },
        createdAt: now,
        confirmedAt: now,
        usedAt: null,
        expiresAt: null,
        counter: -1,
        failures: 0,
        version: 0,
      };
      await credentials.write(
        (store, call) => store.change(id, { removeKinds: ["password"], insert: [entry] }, call),
        id,
      );
    },
  };
  return { api, routes: [passwordLogIn(context, hasher)] };
}
