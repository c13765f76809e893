import type { AuthenticationMethod } from "../../core/authentication.js";
import type { Refusal } from "../../core/response/problem.js";
import { stateIn } from "../../core/request-state.js";
import type { ModuleHost } from "../../module-host.js";
import { boundSession } from "../../session/request-properties.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import type { Answer, Exchange, Reply } from "../http/route.js";
import { invalidCredentials, NO_SESSIONS, NO_TOKENS } from "../refusals.js";
import { deviceName } from "../sessions/device-name.js";
import type { ResolvedAccountsSettings } from "../settings.js";
import type { Person } from "../types.js";
import type { Arrival, Arrived } from "./arrival.js";
import type { Holdings } from "./holdings.js";
import type { Delivery } from "./pending-log-ins.js";
import type { UnfinishedLogIns } from "./unfinished-log-ins.js";

const DONE: Answer = Object.freeze({ status: 200, body: Object.freeze({ status: "done" }), next: "after-login" });

/** Makes the sessions and the tokens of people. Only the gate calls `deliver`. */
export class Deliveries {
  readonly #host: ModuleHost;
  readonly #settings: ResolvedAccountsSettings;
  readonly #holdings: Holdings;
  readonly #unfinished: UnfinishedLogIns;
  readonly #arrived: readonly Arrived[];

  constructor(
    host: ModuleHost,
    settings: ResolvedAccountsSettings,
    parts: {
      readonly holdings: Holdings;
      readonly unfinished: UnfinishedLogIns;
      readonly arrived: readonly Arrived[];
    },
  ) {
    this.#host = host;
    this.#settings = settings;
    this.#holdings = parts.holdings;
    this.#unfinished = parts.unfinished;
    this.#arrived = parts.arrived;
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
   * Makes the session or the tokens. A change of password or factor ends what was made before it; what is made while it runs
   * is ended here: the credentials are looked at once more, after the session is in its store.
   *
   * @param stamp what the credentials were when the gate decided
   */
  async deliver(exchange: Exchange, arrival: Arrival, stamp: string): Promise<Reply> {
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
    this.#unfinished.clear(req, res);
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
      isSame = this.#holdings.stampOf(await this.#holdings.credentialsOf(id, time)) === stamp;
    } finally {
      if (!isSame) await undo();
    }
    return isSame;
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
}
