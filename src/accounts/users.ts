import { checkedIdentity } from "../core/checked-identity.js";
import { inTime, LATE } from "../core/in-time.js";
import { InvalidInputError, PortcullisError } from "../core/portcullis-error.js";
import type { Runtime } from "../core/runtime.js";
import { AppFunctionWarnings } from "./app-function.js";
import type { AccountUser, AccountUsers, NewAccount, Person } from "./types.js";

/** How long a function of `users` may take, in milliseconds. */
const USERS_MS = 5000;

/**
 * A function of `users` threw, rejected, returned something else than a person, or took too long. Nothing was decided,
 * and the same call may succeed soon.
 */
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
  readonly #warnings: AppFunctionWarnings;

  /** @param self the object that the app gave, which may be an instance of a class: its functions are called on it */
  constructor({ findByLogin, findById, create }: AccountUsers, runtime: Runtime, self: object) {
    this.#given = {
      findByLogin: findByLogin.bind(self),
      findById: findById.bind(self),
      ...(create === undefined ? {} : { create: create.bind(self) }),
    };
    this.#runtime = runtime;
    this.#warnings = new AppFunctionWarnings(runtime);
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
  async #call(name: keyof AccountUsers, run: () => unknown, id?: string): Promise<Person | undefined> {
    try {
      const answer = await inTime(Promise.resolve().then(run), USERS_MS);
      if (answer !== LATE) return personOf(name, answer, id);
    } catch (cause) {
      this.#warnings.threw(`users.${name}`, cause);
      throw this.#failed(name, { cause });
    }
    this.#warnings.late(`users.${name}`);
    throw this.#failed(name);
  }

  /** What it threw may contain anything, so the event does not say it. */
  #failed(name: keyof AccountUsers, options?: ErrorOptions): UsersUnavailableError {
    this.#runtime.events.emit("portcullis_layer_failed", () => ({ source: "accounts", reason: `users-${name}` }));
    return new UsersUnavailableError(name, options);
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
