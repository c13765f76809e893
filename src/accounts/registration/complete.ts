import { isDeepStrictEqual } from "node:util";
import { only } from "../../core/authentication.js";
import { requestContext } from "../../core/request-events.js";
import type { Refusal } from "../../core/response/problem.js";
import type { StoredCredential } from "../../stores/contracts.js";
import { UsersUnavailableError } from "../app-functions.js";
import type { AccountsContext } from "../context.js";
import { enterAfter } from "../gate/enter-after.js";
import type { Delivery } from "../gate/pending-log-ins.js";
import type { Exchange, Reply } from "../http/route.js";
import { isMailAddress } from "../mail-address.js";
import { passwordCredential } from "../passwords/new-password.js";
import { PASSWORD_KIND } from "../passwords/record.js";
import { linkEnded } from "../refusals.js";
import type { Person } from "../types.js";
import type { Claim, Registration, Registrations } from "./pending.js";

/** Somebody else has this name. */
export const TAKEN: Refusal = Object.freeze({
  code: "conflict",
  reason: "login-taken",
  detail: "This name is taken. Log in, or choose another one.",
});
const IN_PROGRESS: Refusal = Object.freeze({
  code: "conflict",
  reason: "in-progress",
  detail: "Another request finishes this registration now.",
});

/**
 * Makes the person of a registration, stores the password, ends the registrations of the name, and goes through the gate.
 *
 * Each step can be taken again: when one fails, the claim is given back, and the same call goes on where the failed one
 * stopped. That `users.create` has been called is stored before it is called, so that a person whom it made, and whose
 * password could not be stored, is told from one who was there before, and from one whom the app adds after it has refused.
 */
export class Completion {
  readonly #context: AccountsContext;
  readonly #registrations: Registrations;
  /** Whether the address of the person has been shown to be theirs. */
  readonly #isVerified: boolean;

  constructor(context: AccountsContext, registrations: Registrations) {
    this.#context = context;
    this.#registrations = registrations;
    this.#isVerified = context.notices.canSend;
  }

  /** @throws StoreUnavailableError (rejects) @throws UsersUnavailableError (rejects); the registration stands then */
  async run(
    exchange: Exchange,
    found: StoredCredential,
    registration: Registration,
    arrival: { readonly remember: boolean; readonly deliver: Delivery },
  ): Promise<Reply> {
    const { req, res, time } = exchange;
    const { users, host } = this.#context;
    const before = await time.besides(() => users.findByLogin(registration.login));
    if (before !== undefined && !registration.isBegun) return TAKEN;
    const claim = await this.#registrations.claim(found, registration, time);
    if (claim === undefined) return IN_PROGRESS;
    const made = await this.#make(exchange, claim, registration, before);
    if ("code" in made) return made;
    this.#registrations.clearCookie(req, res);
    const methods = only("pwd", host.runtime.clock.now());
    // The person has just been made, with this password.
    return enterAfter(this.#context, exchange, { person: made, methods, ...arrival, restsOn: [] }, "registered");
  }

  async #make(
    exchange: Exchange,
    claim: Claim,
    registration: Registration,
    before: Person | undefined,
  ): Promise<Person | Refusal> {
    const { users } = this.#context;
    const { login } = registration;
    const email = this.#isVerified && isMailAddress(login) ? { email: login } : {};
    try {
      const person = before ?? (await exchange.time.besides(() => users.create({ login, ...email })));
      const isOwn = person !== undefined && (await this.#setPassword(exchange, person, registration));
      if (!isOwn) {
        // The name went to somebody else: a person of this name is not of this registration.
        await this.#registrations.release(claim, { ...registration, isBegun: false });
        return TAKEN;
      }
      if (!(await this.#registrations.end(claim, exchange.time))) return linkEnded("registration-link");
      this.#announce(exchange, person);
      return person;
    } catch (error) {
      // Who has rejected has made nobody: a person of this name who appears later is not of the registration.
      const isBegun = registration.isBegun || !(error instanceof UsersUnavailableError && error.hasRejected);
      await this.#registrations.release(claim, { ...registration, isBegun });
      throw error;
    }
  }

  /** Whether the person has the password of the registration now. One who has another is somebody else. */
  async #setPassword({ time }: Exchange, { id }: Person, { password }: Registration): Promise<boolean> {
    const { credentials, host } = this.#context;
    const held = await credentials.read((store) => store.find(PASSWORD_KIND, id), id, time);
    if (held !== undefined) return isDeepStrictEqual(held.data, password);
    const entry = passwordCredential(id, password, host.runtime.clock.now());
    return credentials.write((store, call) => store.change(id, { insert: [entry] }, call), id, time);
  }

  #announce({ req }: Exchange, { id }: Person): void {
    const facts = requestContext(req);
    this.#context.host.runtime.events.emit("user_created", () => ({
      ...facts,
      source: "accounts",
      reason: this.#isVerified ? "verified" : "registered",
      subject: id,
    }));
  }
}
