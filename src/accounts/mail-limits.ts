import type { Request } from "express";
import { requestContext } from "../core/request-events.js";
import { stateOf } from "../core/request-state.js";
import type { Refusal } from "../core/response/problem.js";
import type { ModuleHost } from "../module-host.js";
import { guardFor } from "../rate-limit/consume.js";
import { type Taken, takeBackSoon } from "../rate-limit/take-back.js";
import type { WindowOutcome, WindowPolicy, WindowRequest } from "../stores/contracts.js";
import { SlidingWindowStore } from "../stores/memory/sliding-window/store.js";

const HOUR_MS = 3_600_000;

/** How long the link of a reset lives, in milliseconds. */
export const RESET_LINK_MS = 1_200_000;

/** Clients that are counted in this process while the store fails. */
const LOCAL_CLIENTS = 10_000;

/**
 * One mail for each life of a link: when this window refuses, a link that lives is in the person's mailbox. So strangers
 * who ask for mail do not keep the owner from a reset.
 */
const RESET_LINK = policy("reset-link", 1, RESET_LINK_MS);
/** Beside it, for people whose mail was late: five mails an hour in all. */
const RESET_MORE = policy("reset-more", 2, HOUR_MS);
/** Mails to one who registers, or whose name others try to register. */
const REGISTER = policy("register", 5, HOUR_MS);
/** Of them from one address, so that one stranger does not use them all up. */
const REGISTER_PAIR = policy("register-address", 3, HOUR_MS);

function policy(name: string, limit: number, windowMs: number): WindowPolicy {
  return Object.freeze({ name: `accounts:${name}`, limit, windowMs });
}

/** Of them about a person who exists, whatever names others find them by. */
const REGISTER_PERSON = policy("register-person", 5, HOUR_MS);

/** What is counted by address. */
type Purpose = "password-forgot" | "register";

/**
 * How many mails strangers may cause, in the windows of the app's limiter: by address with the numbers of
 * `loginLimits.address`, and by person. While the store fails, this process counts alone.
 */
export class MailLimits {
  readonly #host: ModuleHost;
  /** Created when first needed: most stores never fail. */
  #local: SlidingWindowStore | undefined;
  /** The units of mails that a request has taken. */
  readonly #taken = new WeakMap<Request, Taken[]>();

  constructor(host: ModuleHost) {
    this.#host = host;
  }

  /** Counts a request that may cause mail. Returns the refusal of one too many from this address. */
  async fromAddress(req: Request, purpose: Purpose): Promise<Refusal | undefined> {
    const { address } = this.#host.loginCounters().limits;
    const own = policy(purpose, address.limit, address.windowSeconds * 1000);
    const {
      outcomes: [outcome],
    } = await this.#consume([{ policy: own, key: this.#addressOf(req), cost: 1 }], req);
    if (outcome?.allowed === true) return undefined;
    return {
      code: "rate-limited",
      reason: `${purpose}-address`,
      headers: { "Retry-After": String(Math.max(1, Math.ceil((outcome?.retryAfterMs ?? 0) / 1000))) },
    };
  }

  /** The same, for a route whose answer does not change: whether there is one more. */
  async silentlyFromAddress(req: Request, purpose: Purpose): Promise<boolean> {
    if ((await this.fromAddress(req, purpose)) === undefined) return true;
    this.#announce(req, `${purpose}-address`);
    return false;
  }

  /** Whether one more link to a new password may be sent. @param account whom it is for */
  async reset(req: Request, account: string): Promise<boolean> {
    for (const one of [RESET_LINK, RESET_MORE])
      if (await this.#mail([{ policy: one, key: account, cost: 1 }], req)) return true;
    this.#announce(req, "password-forgot-account");
    return false;
  }

  /** The store refused what a mail would have been about: as there is none, it counts for nobody. */
  giveBack(req: Request): void {
    this.#takeBack(this.#taken.get(req) ?? []);
  }

  /**
   * The mail could not be sent: it does not count for its receiver. It counts for the client, whose next answer would
   * otherwise tell that there was a mail.
   */
  giveBackUnsent(req: Request): void {
    this.#takeBack((this.#taken.get(req) ?? []).filter(({ policy }) => policy !== REGISTER_PAIR));
  }

  /** A reset was done: its person may ask for a link at once. */
  async forgetReset(req: Request, account: string): Promise<void> {
    const { store, storeTimeoutMs } = this.#host.loginCounters();
    const guard = guardFor(store, this.#host.runtime, storeTimeoutMs);
    this.#local?.reset(RESET_LINK, account);
    try {
      await guard.run(() => store.reset(RESET_LINK, account), undefined, stateOf(req));
    } catch {
      // The guard has announced it; the window ends by itself.
    }
  }

  /**
   * What may become of one more registration: `mail` when a mail about it may be sent, `kept` when strangers have used up
   * the mails of the name, `dropped` when this address has used up its own.
   *
   * @param account whom it is for
   */
  async registration(req: Request, account: string): Promise<"mail" | "kept" | "dropped"> {
    const pair = { policy: REGISTER_PAIR, key: `${this.#addressOf(req)} ${account}`, cost: 1 };
    if (await this.#mail([pair, { policy: REGISTER, key: account, cost: 1 }], req)) return "mail";
    this.#announce(req, "register-account");
    return (await this.#mail([pair], req)) ? "kept" : "dropped";
  }

  /**
   * Whether one more mail about registrations may be sent to this person: an app may find one person by many names, each
   * with counts of its own. It is asked for names of nobody too, and changes no answer.
   */
  async registrationOf(req: Request, personId: string): Promise<boolean> {
    if (await this.#mail([{ policy: REGISTER_PERSON, key: personId, cost: 1 }], req)) return true;
    this.#announce(req, "register-person");
    return false;
  }

  close(): void {
    this.#local?.close();
  }

  #takeBack(taken: readonly Taken[]): void {
    takeBackSoon(taken, this.#host.runtime, this.#host.loginCounters().storeTimeoutMs);
  }

  #addressOf(req: Request): string {
    return this.#host.loginCounters().addressOf(req, stateOf(req));
  }

  /** Takes the units of one more mail, or none. */
  async #mail(requests: readonly WindowRequest[], req: Request): Promise<boolean> {
    const { outcomes, counter } = await this.#consume(requests, req);
    if (!outcomes.every(({ allowed }) => allowed)) return false;
    const taken = requests.map(({ policy, key, cost }, place): Taken => {
      const recordedAt = outcomes[place]?.recordedAt;
      return { policy, key, units: cost, counter, recordedAt };
    });
    this.#taken.set(req, [...(this.#taken.get(req) ?? []), ...taken]);
    return true;
  }

  /** Counts in all windows, or in none of them. */
  async #consume(
    requests: readonly WindowRequest[],
    req: Request,
  ): Promise<{ readonly outcomes: readonly WindowOutcome[]; readonly counter: object }> {
    const { store, storeTimeoutMs } = this.#host.loginCounters();
    const guard = guardFor(store, this.#host.runtime, storeTimeoutMs);
    try {
      const outcomes = await guard.run(() => store.consumeAll?.(requests, true), undefined, stateOf(req));
      if (outcomes !== undefined) return { outcomes, counter: store };
    } catch {
      // The guard has announced it.
    }
    this.#local ??= new SlidingWindowStore({ maxClients: LOCAL_CLIENTS, clock: this.#host.runtime.clock });
    return { outcomes: this.#local.consumeAll(requests, true), counter: this.#local };
  }

  /** A mail that is not sent changes no answer, so that only the event tells of it. */
  #announce(req: Request, reason: string): void {
    this.#host.runtime.events.emit("excess_rate_limit_exceeded", () => ({
      source: "accounts",
      reason,
      ...requestContext(req),
    }));
  }
}
