import { checkedIdentity } from "../core/checked-identity.js";
import { inTime, LATE } from "../core/in-time.js";
import { InvalidInputError, PortcullisError } from "../core/portcullis-error.js";
import type { Runtime } from "../core/runtime.js";
import type { AccountUser, AccountUsers, NewAccount, Person } from "./types.js";

/** How long a function of `users` may take, in milliseconds. */
const USERS_MS = 5000;

/** A function of `users` threw, rejected or took too long. Nothing was decided, and the same call may succeed soon. */
export class UsersUnavailableError extends PortcullisError {
  readonly code = "PORTCULLIS_USERS_UNAVAILABLE";
  /** Express's own error handler answers with it when the app passes the error on. */
  readonly status = 503;

  constructor(name: string, options?: ErrorOptions) {
    super(`users.${name} failed, or did not answer in time.`, options);
    this.name = "UsersUnavailableError";
  }
}

/** The app's people, by its own functions. */
export class Users {
  readonly #given: AccountUsers;
  readonly #runtime: Runtime;

  /** @param self the object that the app gave, which may be an instance of a class: its functions are called on it */
  constructor({ findByLogin, findById, create }: AccountUsers, runtime: Runtime, self: object) {
    this.#given = {
      findByLogin: findByLogin.bind(self),
      findById: findById.bind(self),
      ...(create === undefined ? {} : { create: create.bind(self) }),
    };
    this.#runtime = runtime;
  }

  /** @throws UsersUnavailableError (rejects) @throws InvalidInputError (rejects) when the app returned something else */
  async findByLogin(login: string): Promise<Person | undefined> {
    return personOf("findByLogin", await this.#call("findByLogin", () => this.#given.findByLogin(login)));
  }

  /** @throws UsersUnavailableError (rejects) @throws InvalidInputError (rejects) when the app returned something else */
  async findById(id: string): Promise<Person | undefined> {
    const person = personOf("findById", await this.#call("findById", () => this.#given.findById(id)));
    if (person !== undefined && person.id !== id)
      throw new InvalidInputError("users.findById returned a person with another id than the one it was asked for.");
    return person;
  }

  /** @throws UsersUnavailableError (rejects) @throws InvalidInputError (rejects) when the app returned something else */
  async create(account: NewAccount): Promise<Person | undefined> {
    return personOf("create", await this.#call("create", () => this.#given.create?.(account)));
  }

  async #call(name: keyof AccountUsers, run: () => unknown): Promise<unknown> {
    let answer: unknown;
    try {
      answer = await inTime(Promise.resolve().then(run), USERS_MS);
    } catch (cause) {
      this.#announce(name);
      throw new UsersUnavailableError(name, { cause });
    }
    if (answer !== LATE) return answer;
    this.#announce(name);
    throw new UsersUnavailableError(name);
  }

  /** What it threw may contain anything, so the event does not say it. */
  #announce(name: keyof AccountUsers): void {
    this.#runtime.events.emit("portcullis_layer_failed", () => ({ source: "accounts", reason: `users-${name}` }));
  }
}

function personOf(name: string, user: unknown): Person | undefined {
  if (user === undefined || user === null) return undefined;
  const { id, scopes, roles } = checkedIdentity(`users.${name}`, user);
  const { login, email, emailVerified, disabled } = user as AccountUser;
  if (typeof login !== "string" || login === "")
    throw new InvalidInputError(`users.${name} must return the person's login, which is not empty.`);
  if (email !== undefined && email !== null && typeof email !== "string")
    throw new InvalidInputError(`users.${name} must return the person's email as a string, or none.`);
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
