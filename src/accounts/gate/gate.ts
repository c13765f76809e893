import { type BeforeCredential, FactorRequiredError } from "../../core/credential-gate.js";
import type { Refusal } from "../../core/response/problem.js";
import { stateIn } from "../../core/request-state.js";
import type { Proved } from "../factors/factor.js";
import { type Exchange, isRefusal, type Reply } from "../http/route.js";
import { invalidCredentials } from "../refusals.js";
import type { Users } from "../users.js";
import { AccountDisabledError } from "./account-disabled-error.js";
import type { Arrival } from "./arrival.js";
import { decideGate } from "./decide.js";
import type { Deliveries } from "./deliveries.js";
import type { Holdings } from "./holdings.js";
import type { Resumed, UnfinishedLogIns } from "./unfinished-log-ins.js";

/**
 * The one place that decides whether a person has proved enough, and that has their session or tokens made. Every way in
 * ends in `enter`.
 */
export class Gate {
  readonly #users: Users;
  readonly #holdings: Holdings;
  readonly #unfinished: UnfinishedLogIns;
  readonly #deliveries: Deliveries;

  constructor(parts: {
    readonly users: Users;
    readonly holdings: Holdings;
    readonly unfinished: UnfinishedLogIns;
    readonly deliveries: Deliveries;
  }) {
    this.#users = parts.users;
    this.#holdings = parts.holdings;
    this.#unfinished = parts.unfinished;
    this.#deliveries = parts.deliveries;
  }

  /** For the core: asked before any session, token or key is made, by whomever. */
  readonly beforeCredential: BeforeCredential = async ({ id, kind, methods }) => {
    // A key that makes a key was itself made here, and its own limits bind what it makes.
    if (kind === "key" && methods.some(({ method }) => method === "key")) return;
    const person = await this.#users.findById(id);
    if (person === undefined) return;
    if (person.isDisabled) throw new AccountDisabledError();
    const standing = await this.#holdings.standingOf(person, await this.#holdings.credentialsOf(person.id));
    if (decideGate(methods, standing).verdict !== "done") throw new FactorRequiredError();
  };

  /**
   * Goes on with a log-in: makes the session or the tokens, or stores what is still owed.
   *
   * @throws StoreUnavailableError (rejects); no session and no tokens were made then
   */
  async enter(exchange: Exchange, arrival: Arrival): Promise<Reply> {
    const { person } = arrival;
    if (person.isDisabled) return invalidCredentials("disabled");
    const credentials = await this.#holdings.credentialsOf(person.id, exchange.time);
    const present = new Set(credentials.map(({ id }) => id));
    if (!arrival.restsOn.every((id) => present.has(id))) return invalidCredentials("changed-meanwhile", person.id);
    const stamp = this.#holdings.stampOf(credentials);
    const standing = await exchange.time.besides(() => this.#holdings.standingOf(person, credentials));
    const verdict = decideGate(arrival.methods, standing);
    if (verdict.verdict === "done") return this.#deliveries.deliver(exchange, arrival, stamp);
    const owed = await this.#unfinished.begin(exchange, arrival, verdict, stamp);
    // The password was right, so it counts neither as a failure nor against its owner.
    stateIn(exchange.req)?.onLogIn?.();
    return owed;
  }

  /** Ends the log-in that goes on, spends its code, and enters with what that proves besides; see `UnfinishedLogIns.take`. */
  async finish(
    exchange: Exchange,
    { pending, person, credentials }: Resumed,
    given: string | undefined,
    spend: () => Promise<Proved | Refusal>,
  ): Promise<Reply> {
    const proved = await this.#unfinished.take(exchange, given, spend);
    if ("code" in proved) return proved;
    const { remember, deliver, methods, returnTo } = pending;
    const restsOn = this.#holdings.basesOf(credentials);
    const arrival = { person, remember, deliver, returnTo, methods: [...methods, proved.method], restsOn };
    const reply = await this.enter(exchange, arrival);
    return isRefusal(reply) ? reply : { ...reply, body: { ...reply.body, ...proved.answer } };
  }
}
