import type { Request } from "express";
import { InvalidInputError } from "../../core/portcullis-error.js";
import type { Refusal } from "../../core/response/problem.js";
import type { CredentialChange, StoredCredential } from "../../stores/contracts.js";
import type { Ending } from "../compromise.js";
import type { AccountsContext } from "../context.js";
import type { SecondFactorName } from "../gate/decide.js";
import { type Exchange, type Reply, route, type Route } from "../http/route.js";
import { PASSWORD_KIND } from "../passwords/record.js";
import { SESSION_ENDED } from "../refusals.js";
import type { Person } from "../types.js";
import { evenIfLate, factorsChanged } from "./changed.js";
import { decideRemoval } from "./decide-removal.js";
import { personOf } from "./person-of.js";
import type { TotpEnrolment } from "./enrolment.js";
import { showCodes } from "./shown-codes.js";
import { newRecoveryCodes, RECOVERY_CODE } from "./recovery-codes.js";

/** A second factor of a person. */
export interface FactorInfo {
  /** Its id, for `remove`. */
  readonly id: string;
  /** What it is. */
  readonly method: SecondFactorName;
  /** What the person calls it; `null` for no name. */
  readonly name: string | null;
  /** When it was set up, in milliseconds since the epoch. */
  readonly createdAt: number;
  /** When it was last used. */
  readonly usedAt: number | null;
}

/** Second factors of people, for the app's own code: an administrator who helps someone, say. */
export interface AccountFactors {
  /**
   * The authenticator app that the person of this request is setting up, for a page that shows it as text and as a QR code;
   * `undefined` when `POST /totp` has begun none, or ten minutes ago, or the session is no longer fresh.
   *
   * @throws StoreUnavailableError (rejects) when a store did not answer
   */
  enrolment(req: Request): Promise<TotpEnrolment | undefined>;
  /** The second factors of a person, oldest first. Recovery codes are none. */
  list(id: string | number): Promise<readonly FactorInfo[]>;
  /** How many recovery codes a person has left. */
  recoveryCodesLeft(id: string | number): Promise<number>;
  /**
   * Takes a factor away, whatever `factors.required` says, and ends the person's sessions and token families, and their
   * API keys with `onCompromise: "everything"`. With the last factor go the recovery codes.
   *
   * @returns false when the person has no such factor
   * @throws InvalidInputError (rejects) when `users.findById` knows no person with this id, or the person's factors changed
   * meanwhile
   * @throws StoreUnavailableError (rejects) when a store did not answer; the factor is there still, unless the answer to a
   * commit was lost, and the same call may be made again
   */
  remove(id: string | number, factorId: string): Promise<boolean>;
  /**
   * Takes all factors and recovery codes away, for someone who has lost them, and ends what `remove` ends. Check who asks:
   * from then on the password alone logs in.
   *
   * @throws InvalidInputError (rejects) when `users.findById` knows no person with this id
   * @throws StoreUnavailableError (rejects) when a store did not answer; the same call may be made again
   */
  resetAll(id: string | number): Promise<void>;
}

/** Why a person's log-ins end. */
const REMOVED = Object.freeze({ reason: "factor-removed" });
const CONFLICT: Refusal = Object.freeze({ code: "conflict", reason: "factors-changed" });
const NO_SUCH_FACTOR: Refusal = Object.freeze({ code: "not-found", reason: "factor", event: "input_validation_fail" });
const NO_FACTOR: Refusal = Object.freeze({
  code: "conflict",
  reason: "no-factor",
  detail: "Recovery codes stand in for a second factor. Set one up first.",
});

/** `GET /factors`, `DELETE /factors/:id`, `POST /recovery-codes`, and the same for the app's own code. */
export function factorManagement(context: AccountsContext): {
  readonly api: Omit<AccountFactors, "enrolment">;
  readonly routes: Route[];
} {
  const { holdings, credentials, settings, notices, host } = context;

  /** What makes a second factor due, with its method. */
  function factorsAmong(all: readonly StoredCredential[]): readonly [StoredCredential, SecondFactorName][] {
    return holdings.factors
      .filter(({ isFactor }) => isFactor)
      .flatMap((factor) => factor.usable(all).map((one): [StoredCredential, SecondFactorName] => [one, factor.method]));
  }

  function infosOf(all: readonly StoredCredential[]): readonly FactorInfo[] {
    return factorsAmong(all).map(([{ id, data, createdAt, usedAt }, method]) => ({
      id,
      method,
      name: typeof data.name === "string" ? data.name : null,
      createdAt,
      usedAt,
    }));
  }

  /** What a decision rests on: passwords and factors, as they were read. A change that has these fails when one changed. */
  function basesOf(all: readonly StoredCredential[], removed?: string): Required<Pick<CredentialChange, "update">> {
    const passwords = all.filter(({ kind }) => kind === PASSWORD_KIND);
    const bases = [...passwords, ...factorsAmong(all).map(([one]) => one)].filter(({ id }) => id !== removed);
    return { update: bases.map(({ id, version }) => ({ id, version })) };
  }

  /** Removes one factor. */
  function removalOf(id: string, all: readonly StoredCredential[]): CredentialChange {
    const isLast = factorsAmong(all).every(([one]) => one.id === id);
    return { remove: [id], removeKinds: isLast ? [RECOVERY_CODE] : [], ...basesOf(all, id) };
  }

  /**
   * What a person has, for a request whose session was in force after it was read: a reset ends sessions before it sets the
   * password, so whoever has lost the account by then has read what does not hold any more.
   */
  async function heldBy({ req, time }: Exchange, { id }: Person): Promise<readonly StoredCredential[] | Refusal> {
    const all = await holdings.credentialsOf(id, time);
    return (await host.isInForce(req)) ? all : SESSION_ENDED;
  }

  async function list({ req, time }: Exchange): Promise<Reply> {
    const id = req.principal?.id ?? "";
    const all = await holdings.credentialsOf(id, time);
    return { status: 200, body: { factors: infosOf(all), recoveryCodesLeft: codesIn(all) } };
  }

  async function remove(exchange: Exchange): Promise<Reply> {
    const { req, time } = exchange;
    const person = await personOf(context, exchange);
    if ("code" in person) return person;
    const all = await heldBy(exchange, person);
    if ("code" in all) return all;
    const own = factorsAmong(all);
    const found = own.find(([{ id }]) => id === req.params.id);
    if (found === undefined) return NO_SUCH_FACTOR;
    const verdict = decideRemoval({
      isLast: own.length === 1,
      isRequired: await time.besides(() => holdings.isRequired(person)),
      credentials: all,
    });
    if (verdict !== "removed") return { code: verdict, reason: found[1] };
    const change = removalOf(found[0].id, all);
    const ending = context.compromise.of(person.id, REMOVED);
    const isDone = await credentials.write(
      (store, call) => store.change(person.id, change, call),
      person.id,
      time,
      ending.endIfLate,
    );
    if (!isDone) return CONFLICT;
    await evenIfLate(() => changed(person, `${found[1]}-removed`, ending, req));
    return { status: 204, next: "account", done: "factor-removed" };
  }

  async function makeCodes(exchange: Exchange): Promise<Reply> {
    const { req, time } = exchange;
    const person = await personOf(context, exchange);
    if ("code" in person) return person;
    const all = await heldBy(exchange, person);
    if ("code" in all) return all;
    if (factorsAmong(all).length === 0) return NO_FACTOR;
    const { codes, change } = newRecoveryCodes(context, person.id);
    const isDone = await credentials.write(
      (store, call) => store.change(person.id, { ...change, ...basesOf(all) }, call),
      person.id,
      time,
    );
    if (!isDone) return CONFLICT;
    host.runtime.events.emit("user_updated", () => ({
      source: "accounts",
      reason: "recovery-codes-made",
      subject: person.id,
    }));
    notices.send({ kind: "recovery-codes-made", user: person.user });
    return showCodes(context, req, { status: 201 }, codes, settings.pages.account);
  }

  function changed(person: Person, reason: string, ending: Ending, req?: Request): Promise<void> {
    return factorsChanged(context, { person, kind: "factor-removed", reason, req, ending, keep: req?.principal });
  }

  /**
   * Makes a change for the app's own code: ends what the factors opened before it, so that a call that rejects can be made
   * again, and once more after it, for a log-in in between.
   */
  async function changeFor(person: Person, change: CredentialChange, reason: string): Promise<boolean> {
    const ending = context.compromise.of(person.id, REMOVED);
    await ending.end();
    if (!(await credentials.write((store, call) => store.change(person.id, change, call), person.id))) return false;
    await evenIfLate(() => changed(person, reason, ending));
    return true;
  }

  async function known(name: string, id: string | number): Promise<Person> {
    const person = await context.users.findById(String(id));
    if (person === undefined)
      throw new InvalidInputError(`factors.${name}: users.findById knows no person with this id.`);
    return person;
  }

  const api = {
    async list(id: string | number) {
      return infosOf(await holdings.credentialsOf(String(id)));
    },
    async recoveryCodesLeft(id: string | number) {
      return codesIn(await holdings.credentialsOf(String(id)));
    },
    async remove(id: string | number, factorId: string) {
      const person = await known("remove", id);
      const all = await holdings.credentialsOf(person.id);
      const found = factorsAmong(all).find(([one]) => one.id === factorId);
      if (found === undefined) return false;
      if (!(await changeFor(person, removalOf(factorId, all), `${found[1]}-removed`)))
        throw new InvalidInputError("factors.remove: the person's factors have changed meanwhile. Call it again.");
      return true;
    },
    async resetAll(id: string | number) {
      const person = await known("resetAll", id);
      await changeFor(person, { removeKinds: holdings.factors.map(({ kind }) => kind) }, "factors-reset");
    },
  };

  const routes = [
    route({ method: "GET", path: "/factors", access: "person", page: "account", handle: list }),
    route({ method: "DELETE", path: "/factors/:id", access: "fresh", page: "account", handle: remove }),
    // A form of a page cannot send DELETE.
    route({ method: "POST", path: "/factors/:id/remove", access: "fresh", page: "account", handle: remove }),
  ];
  if (settings.factors.recoveryCodes)
    routes.push(
      route({ method: "POST", path: "/recovery-codes", access: "fresh", page: "account", handle: makeCodes }),
    );
  return { api, routes };
}

function codesIn(all: readonly StoredCredential[]): number {
  return all.filter(({ kind }) => kind === RECOVERY_CODE).length;
}
