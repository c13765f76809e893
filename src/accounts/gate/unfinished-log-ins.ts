import type { Request, Response } from "express";
import { stateOf } from "../../core/request-state.js";
import type { Refusal } from "../../core/response/problem.js";
import type { ModuleHost } from "../../module-host.js";
import type { StoredCredential } from "../../stores/contracts.js";
import { StoreTime } from "../../stores/health/store-time.js";
import type { Exchange, Reply } from "../http/route.js";
import type { PendingLogInStatus } from "../pages/pending-log-in.js";
import { NO_PENDING } from "../refusals.js";
import type { ResolvedAccountsSettings } from "../settings.js";
import type { Person } from "../types.js";
import type { Users } from "../users.js";
import type { Arrival } from "./arrival.js";
import type { GateVerdict } from "./decide.js";
import type { Holdings } from "./holdings.js";
import type { PendingLogIn, PendingLogIns } from "./pending-log-ins.js";

/** A log-in that goes on. */
export interface Resumed {
  readonly pending: PendingLogIn;
  readonly person: Person;
  readonly credentials: readonly StoredCredential[];
}

/** Log-ins that owe a factor: from the password to the code. */
export class UnfinishedLogIns {
  readonly #host: ModuleHost;
  readonly #settings: ResolvedAccountsSettings;
  readonly #users: Users;
  readonly #holdings: Holdings;
  readonly #pending: PendingLogIns;

  constructor(
    host: ModuleHost,
    settings: ResolvedAccountsSettings,
    parts: { readonly users: Users; readonly holdings: Holdings; readonly pending: PendingLogIns },
  ) {
    this.#host = host;
    this.#settings = settings;
    this.#users = parts.users;
    this.#holdings = parts.holdings;
    this.#pending = parts.pending;
  }

  /**
   * Stores a log-in that owes something, and says what.
   *
   * @param stamp what the person has: when it has changed, the log-in is worthless
   */
  async begin(
    { req, res, time }: Exchange,
    { person, methods, remember, deliver, returnTo }: Arrival,
    verdict: Exclude<GateVerdict, { verdict: "done" }>,
    stamp: string,
  ): Promise<Reply> {
    const owes = verdict.verdict;
    const pending = await this.#pending.begin(
      res,
      { personId: person.id, methods, remember, deliver, returnTo, owes, stamp },
      this.#host.loginCounters().addressOf(req, stateOf(req)),
      time,
    );
    const more = pending === undefined ? {} : { pending };
    return owes === "factor"
      ? { status: 200, body: { status: "factor-required", factors: verdict.factors, ...more }, next: "factor" }
      : { status: 200, body: { status: "enrolment-required", methods: verdict.methods, ...more }, next: "enrol" };
  }

  /**
   * The log-in that a request goes on with, or the refusal of a request that has none.
   *
   * @param given the secret of a client without cookies
   */
  async resume(
    exchange: Pick<Exchange, "req" | "time">,
    given: string | undefined,
    owes: PendingLogIn["owes"],
  ): Promise<Resumed | Refusal> {
    const resumed = await this.#find(exchange.req, given, exchange.time);
    return resumed?.pending.owes === owes ? resumed : NO_PENDING;
  }

  async #find(req: Request, given: string | undefined, time: StoreTime): Promise<Resumed | undefined> {
    const pending = await this.#pending.find(req, given, time);
    if (pending === undefined) return undefined;
    const person = await time.besides(() => this.#users.findById(pending.personId));
    if (person === undefined || person.isDisabled) return undefined;
    const credentials = await this.#holdings.credentialsOf(person.id, time);
    // A reset, say, has changed what the person has since.
    return this.#holdings.stampOf(credentials) === pending.stamp ? { pending, person, credentials } : undefined;
  }

  /** What the log-in of this browser owes, for a page that asks for it. @throws StoreUnavailableError (rejects) */
  async status(req: Request): Promise<PendingLogInStatus | undefined> {
    const resumed = await this.#find(req, undefined, new StoreTime(this.#settings.storeTimeoutMs));
    if (resumed === undefined) return undefined;
    const { factors, enrollable } = await this.#holdings.standingOf(resumed.person, resumed.credentials);
    return resumed.pending.owes === "factor"
      ? { status: "factor-required", factors }
      : { status: "enrolment-required", methods: enrollable };
  }

  /**
   * Ends the log-in that goes on, and then spends a code for it: of several requests, each with a code of its own, one does.
   * The other order would spend the codes of all of them. When nothing was spent, the log-in goes on.
   *
   * @param spend a refusal says that nothing was spent
   */
  async take<Spent extends object>(
    { req, res, time }: Exchange,
    given: string | undefined,
    spend: () => Promise<Spent | Refusal>,
  ): Promise<Spent | Refusal> {
    const restore = await this.#pending.end(req, given, time);
    if (restore === undefined) return NO_PENDING;
    let spent: Spent | Refusal | undefined;
    try {
      spent = await spend();
    } finally {
      if (spent === undefined || "code" in spent) await restore();
      else this.#pending.clear(req, res);
    }
    return spent;
  }

  /** Ends the log-in that goes on, if there is one: for a log-out. */
  async abandon({ req, res, time }: Exchange, given?: string): Promise<void> {
    await this.#pending.end(req, given, time);
    this.#pending.clear(req, res);
  }

  /** Takes the cookie of the log-in back. */
  clear(req: Request, res: Response): void {
    this.#pending.clear(req, res);
  }
}
