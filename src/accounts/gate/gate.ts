import { createHash } from "node:crypto";
import type { Request } from "express";
import type { AuthenticationMethod } from "../../core/authentication.js";
import { type BeforeCredential, FactorRequiredError } from "../../core/credential-gate.js";
import { PortcullisError } from "../../core/portcullis-error.js";
import type { Refusal } from "../../core/response/problem.js";
import { stateIn, stateOf } from "../../core/request-state.js";
import { boundSession } from "../../session/request-properties.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import type { CredentialStore, StoredCredential } from "../../stores/contracts.js";
import type { AppFunctions } from "../app-functions.js";
import type { Proved, SecondFactor } from "../factors/factor.js";
import type { Guarded } from "../guarded.js";
import { type Answer, type Exchange, isRefusal, type Reply } from "../http/route.js";
import type { PendingLogInStatus } from "../pages/pending-log-in.js";
import type { ModuleHost } from "../../module-host.js";
import { PASSWORD_KIND } from "../passwords/record.js";
import { invalidCredentials, NO_PENDING, NO_SESSIONS, NO_TOKENS } from "../refusals.js";
import { deviceName } from "../sessions/device-name.js";
import type { ResolvedAccountsSettings } from "../settings.js";
import type { Person } from "../types.js";
import type { Users } from "../users.js";
import { decideGate, type GateVerdict, type Standing } from "./decide.js";
import type { Delivery, PendingLogIn, PendingLogIns } from "./pending-log-ins.js";

/** A person may not log in. Thrown to code that makes a credential; a route answers as to a wrong password. */
export class AccountDisabledError extends PortcullisError {
  readonly code = "account-disabled";
  /** Express's own error handler answers with it when the app passes the error on. */
  readonly status = 401;

  constructor() {
    super("This person is disabled, so that no session, token or key can be made for them.");
    this.name = "AccountDisabledError";
  }
}

/** Someone who has proved something. */
export interface Arrival {
  readonly person: Person;
  /** What has been proved, and when. */
  readonly methods: readonly AuthenticationMethod[];
  readonly remember: boolean;
  readonly deliver: Delivery;
  /** The page that the browser wanted. */
  readonly returnTo?: string | undefined;
  /** Ids of the credentials that the proof rests on: when one of them is gone meanwhile, it proves nothing. */
  readonly restsOn: readonly string[];
}

/** What a part does when a session has been made. It cannot undo the log-in, so it rejects with nothing. */
export type Arrived = (exchange: Exchange, person: Person) => Promise<void>;

/** A log-in that goes on. */
export interface Resumed {
  readonly pending: PendingLogIn;
  readonly person: Person;
  readonly credentials: readonly StoredCredential[];
}

/**
 * The one place that decides whether a person has proved enough, and that makes their session or tokens. Every way in
 * ends in `enter`.
 */
export class Gate {
  readonly #host: ModuleHost;
  readonly #settings: ResolvedAccountsSettings;
  readonly #functions: AppFunctions;
  readonly #users: Users;
  readonly #credentials: Guarded<CredentialStore>;
  readonly #pending: PendingLogIns;
  readonly #factors: readonly SecondFactor[];
  readonly #arrived: readonly Arrived[];

  constructor(
    host: ModuleHost,
    settings: ResolvedAccountsSettings,
    parts: {
      readonly functions: AppFunctions;
      readonly users: Users;
      readonly credentials: Guarded<CredentialStore>;
      readonly pending: PendingLogIns;
      readonly factors: readonly SecondFactor[];
      readonly arrived: readonly Arrived[];
    },
  ) {
    this.#host = host;
    this.#settings = settings;
    this.#functions = parts.functions;
    this.#users = parts.users;
    this.#credentials = parts.credentials;
    this.#pending = parts.pending;
    this.#factors = parts.factors;
    this.#arrived = parts.arrived;
  }

  get factors(): readonly SecondFactor[] {
    return this.#factors;
  }

  /** For the core: asked before any session, token or key is made, by whomever. */
  readonly beforeCredential: BeforeCredential = async ({ id, kind, methods }) => {
    // A key that makes a key was itself made here, and its own limits bind what it makes.
    if (kind === "key" && methods.some(({ method }) => method === "key")) return;
    const person = await this.#users.findById(id);
    if (person === undefined) return;
    if (person.isDisabled) throw new AccountDisabledError();
    const standing = await this.standingOf(person, await this.credentialsOf(person.id));
    if (decideGate(methods, standing).verdict !== "done") throw new FactorRequiredError();
  };

  /** @throws StoreUnavailableError (rejects) */
  credentialsOf(personId: string, time?: StoreTime): Promise<readonly StoredCredential[]> {
    return this.#credentials.read((store) => store.listOf(personId), personId, time);
  }

  /** What a person has, and what is asked of them. */
  async standingOf(person: Person, credentials: readonly StoredCredential[]): Promise<Standing> {
    const usable = this.#factors.filter((factor) => factor.usable(credentials).length > 0);
    return {
      factors: usable.map(({ method }) => method),
      hasFactor: usable.some(({ isFactor }) => isFactor),
      isRequired: await this.isRequired(person),
      enrollable: this.#factors.flatMap(({ method, canEnrol }) => (canEnrol ? [method] : [])),
    };
  }

  /** Whether `factors.required` asks for a second factor. @throws UsersUnavailableError (rejects) */
  async isRequired(person: Person): Promise<boolean> {
    const { required } = this.#settings.factors;
    if (required === undefined) return false;
    // Anything but a clear no asks for the factor.
    return this.#functions.call(
      "factors.required",
      () => required(person.user),
      (answer) => answer !== false,
    );
  }

  /**
   * Why this service cannot deliver a log-in so, if it cannot: asked first of all, since a request that is refused has done
   * nothing.
   */
  undeliverable(deliver: Delivery): Refusal | undefined {
    if (deliver === "tokens") return this.#host.jwt === undefined ? NO_TOKENS : undefined;
    return this.#host.session === undefined ? NO_SESSIONS : undefined;
  }

  /**
   * Goes on with a log-in: makes the session or the tokens, or stores what is still owed.
   *
   * @throws StoreUnavailableError (rejects); no session and no tokens were made then
   */
  async enter(exchange: Exchange, arrival: Arrival): Promise<Reply> {
    const { person } = arrival;
    if (person.isDisabled) return invalidCredentials("disabled");
    const credentials = await this.credentialsOf(person.id, exchange.time);
    const present = new Set(credentials.map(({ id }) => id));
    if (!arrival.restsOn.every((id) => present.has(id))) return invalidCredentials("changed-meanwhile", person.id);
    const stamp = this.#stampOf(credentials);
    const standing = await exchange.time.besides(() => this.standingOf(person, credentials));
    const verdict = decideGate(arrival.methods, standing);
    if (verdict.verdict === "done") return this.#deliver(exchange, arrival, stamp);
    const owed = await this.#owe(exchange, arrival, verdict, stamp);
    // The password was right, so it counts neither as a failure nor against its owner.
    stateIn(exchange.req)?.onLogIn?.();
    return owed;
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
    const credentials = await this.credentialsOf(person.id, time);
    // A reset, say, has changed what the person has since.
    return this.#stampOf(credentials) === pending.stamp ? { pending, person, credentials } : undefined;
  }

  /** What the log-in of this browser owes, for a page that asks for it. @throws StoreUnavailableError (rejects) */
  async status(req: Request): Promise<PendingLogInStatus | undefined> {
    const resumed = await this.#find(req, undefined, this.#credentials.time());
    if (resumed === undefined) return undefined;
    const { factors, enrollable } = await this.standingOf(resumed.person, resumed.credentials);
    return resumed.pending.owes === "factor"
      ? { status: "factor-required", factors }
      : { status: "enrolment-required", methods: enrollable };
  }

  /** Ends the log-in that goes on, spends its code, and enters with what that proves besides; see `take`. */
  async finish(
    exchange: Exchange,
    { pending, person, credentials }: Resumed,
    given: string | undefined,
    spend: () => Promise<Proved | Refusal>,
  ): Promise<Reply> {
    const proved = await this.take(exchange, given, spend);
    if ("code" in proved) return proved;
    const { remember, deliver, methods, returnTo } = pending;
    const restsOn = this.#basesOf(credentials);
    const arrival = { person, remember, deliver, returnTo, methods: [...methods, proved.method], restsOn };
    const reply = await this.enter(exchange, arrival);
    return isRefusal(reply) ? reply : { ...reply, body: { ...reply.body, ...proved.answer } };
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

  /**
   * Makes the session of a request new, with what was proved besides: after a re-authentication, and when a factor was
   * set up. The id changes; data, idle time-out and label stay.
   *
   * @throws SessionEndedError (rejects) when the session has ended meanwhile
   */
  async renew({ req, time }: Exchange, person: Person, methods: readonly AuthenticationMethod[]): Promise<void> {
    const { session } = this.#host;
    const metadata = boundSession(req)?.opened?.metadata;
    const kept = (req.principal?.methods ?? []).filter((one) => !methods.some(({ method }) => method === one.method));
    const { id, scopes, roles } = person;
    const label = metadata?.label === undefined ? {} : { label: metadata.label };
    const options = metadata?.maxAgeMs === undefined ? {} : { maxAge: metadata.maxAgeMs / 1000 };
    const who = { id, scopes, roles, methods: [...kept, ...methods], ...label };
    await time.besides(async () => session?.logIn(req, who, options));
  }

  /**
   * What a person's passwords and factors are, in short: it changes with each of them. Attempts and recovery codes leave it
   * as it is, so that a wrong code does not end the log-in of someone else.
   */
  #stampOf(credentials: readonly StoredCredential[]): string {
    return createHash("sha256").update(this.#basesOf(credentials).sort().join("\n")).digest("base64url");
  }

  /** The ids of a person's passwords and factors. */
  #basesOf(credentials: readonly StoredCredential[]): string[] {
    const passwords = credentials.filter(({ kind }) => kind === PASSWORD_KIND);
    const factors = this.#factors.filter(({ isFactor }) => isFactor).flatMap((factor) => factor.usable(credentials));
    return [...passwords, ...factors].map(({ id }) => id);
  }

  /**
   * Makes the session or the tokens. A change of password or factor ends what was made before it; what is made while it runs
   * is ended here: the credentials are looked at once more, after the session is in its store.
   *
   * @param stamp what the credentials were when the gate decided
   */
  async #deliver(exchange: Exchange, arrival: Arrival, stamp: string): Promise<Reply> {
    const { person, methods, remember, deliver, returnTo } = arrival;
    const { req, res, time } = exchange;
    const { id, scopes, roles } = person;
    const { session, jwt } = this.#host;
    const name = deviceName(req.headers["user-agent"]);
    const label = name === undefined ? {} : { label: name };
    if (deliver === "tokens") {
      if (jwt === undefined) return NO_TOKENS;
      const tokens = await time.besides(() => jwt.issue(id, { scopes, roles, methods, ...label }));
      if (!(await this.#holds(id, stamp, time, () => jwt.revokeFamily(tokens.refreshToken))))
        return invalidCredentials("changed-meanwhile", id);
      stateIn(req)?.onLogIn?.();
      return { status: 200, body: { status: "done", ...tokens }, next: "after-login" };
    }
    if (session === undefined) return NO_SESSIONS;
    const { rememberSeconds } = this.#settings;
    const who = { id, scopes, roles, methods, ...label };
    await time.besides(() => session.logIn(req, who, remember ? { maxAge: rememberSeconds } : {}));
    this.#pending.clear(req, res);
    if (!(await this.#holds(id, stamp, time, () => session.logOut(req, res, { clearSiteData: false }))))
      return invalidCredentials("changed-meanwhile", id);
    for (const arrived of this.#arrived) await arrived(exchange, person);
    return { ...DONE, returnTo };
  }

  /**
   * Whether a person's credentials are what they were when the gate decided.
   *
   * @param undo ends what was made, when they are not, or when the store does not say
   * @throws StoreUnavailableError (rejects)
   */
  async #holds(id: string, stamp: string, time: StoreTime, undo: () => Promise<unknown>): Promise<boolean> {
    let isSame = false;
    try {
      isSame = this.#stampOf(await this.credentialsOf(id, time)) === stamp;
    } finally {
      if (!isSame) await undo();
    }
    return isSame;
  }

  async #owe(
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
}

const DONE: Answer = Object.freeze({ status: 200, body: Object.freeze({ status: "done" }), next: "after-login" });
