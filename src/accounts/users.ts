import { checkedIdentity } from "../core/checked-identity.js";
import { InvalidInputError } from "../core/portcullis-error.js";
import type { AppFunctions } from "./app-functions.js";
import type { AccountUser, AccountUsers, NewAccount, Person } from "./types.js";

/** The app's people, by its own functions. */
export class Users {
  readonly #given: AccountUsers;
  readonly #functions: AppFunctions;

  /** @param self the object that the app gave, which may be an instance of a class: its functions are called on it */
  constructor({ findByLogin, findById, create }: AccountUsers, functions: AppFunctions, self: object) {
    this.#given = {
      findByLogin: findByLogin.bind(self),
      findById: findById.bind(self),
      ...(create === undefined ? {} : { create: create.bind(self) }),
    };
    this.#functions = functions;
  }

  /** @throws UsersUnavailableError (rejects) */
  findByLogin(login: string): Promise<Person | undefined> {
    return this.#call("findByLogin", () => this.#given.findByLogin(login));
  }

  /** @throws UsersUnavailableError (rejects) */
  findById(id: string): Promise<Person | undefined> {
    return this.#call("findById", () => this.#given.findById(id), id);
  }

  /** @throws UsersUnavailableError (rejects) */
  create(account: NewAccount): Promise<Person | undefined> {
    return this.#call("create", () => this.#given.create?.(account));
  }

  /** @param id whose person it must return, if any */
  #call(name: keyof AccountUsers, run: () => unknown, id?: string): Promise<Person | undefined> {
    return this.#functions.call(`users.${name}`, run, (answer) => personOf(name, answer, id));
  }
}

function personOf(name: string, user: unknown, expected?: string): Person | undefined {
  if (user === undefined || user === null) return undefined;
  const { id, scopes, roles } = checkedIdentity(`users.${name}`, user);
  const { login, email, emailVerified, disabled } = user as AccountUser;
  if (typeof login !== "string" || login === "")
    throw new InvalidInputError(`users.${name} must return the person's login, which is not empty.`);
  if (email !== undefined && email !== null && typeof email !== "string")
    throw new InvalidInputError(`users.${name} must return the person's email as a string, or none.`);
  if (expected !== undefined && id !== expected)
    throw new InvalidInputError(`users.${name} must return the person with the id that it is asked for, or nothing.`);
  return {
    id,
    login,
    email: email ?? undefined,
    emailVerified: emailVerified === true,
    scopes,
    roles,
    isDisabled: disabled === true,
    user: user as AccountUser,
  };
}
