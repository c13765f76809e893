import type { Request, Response } from "express";
import { mapMaybe, type MaybePromise } from "../core/maybe-promise.js";
import type { LimitRefusal } from "../core/pending-limits.js";
import { refuse } from "../core/response/refuse.js";
import { RETRY_SOON } from "../core/response/problem.js";
import { type CountedIn, type RequestState, stateIn } from "../core/request-state.js";
import type { Runtime } from "../core/runtime.js";
import { parse } from "../settings/object.js";
import type { RateLimitStore, WindowOutcome, WindowPolicy, WindowRequest } from "../stores/contracts.js";
import { SlidingWindowStore } from "../stores/memory/sliding-window/store.js";
import { consumeLimits, guardFor } from "./consume.js";
import { noteCount, undoCount } from "./counted-once.js";
import { decide, limitText, tightest } from "./decide.js";
import type { ListedLimit } from "./directory.js";
import { byAddress, namedAddress } from "./keys.js";
import { accountHash } from "./login-account.js";
import { loginLimitsSchema, type ResolvedLoginLimitSettings } from "./login-settings.js";
import { rateLimitSchema, type ResolvedRateLimitSettings } from "./settings.js";
import { isWindowStore } from "./store-choice.js";
import { type Taken, takeBack, takeBackSoon } from "./take-back.js";

const DAY_MS = 86_400_000;
/** How long failures for an account are counted when no success ends them. */
const CONSECUTIVE_MS = DAY_MS;
/** How long an address is known after it has logged in to an account. */
const KNOWN_MS = 30 * DAY_MS;

/** The counters of log-ins in one app. */
export class LoginCounters {
  readonly limits: ResolvedLoginLimitSettings;
  readonly store: RateLimitStore;
  readonly storeTimeoutMs: number;
  readonly #onStoreError: "local" | "allow" | "deny";
  readonly #maxClients: number;
  readonly #runtime: Runtime;
  readonly #address: WindowPolicy;
  readonly #pair: WindowPolicy;
  readonly #account: WindowPolicy;
  readonly #consecutive: WindowPolicy | undefined;
  readonly #known: WindowPolicy;
  /** Created when first needed: most stores never fail. */
  #fallback: SlidingWindowStore | undefined;
  readonly addressOf: ReturnType<typeof byAddress>;
  readonly #ipv6Subnet: number;

  constructor(
    limits: ResolvedLoginLimitSettings | undefined,
    defaults: ResolvedRateLimitSettings | undefined,
    store: RateLimitStore,
    runtime: Runtime,
  ) {
    const common = defaults ?? parse(rateLimitSchema, {});
    this.limits = limits ?? parse(loginLimitsSchema, {});
    this.store = common.store !== undefined && isWindowStore(common.store) ? common.store : store;
    this.storeTimeoutMs = common.storeTimeoutMs;
    this.#onStoreError = common.onStoreError;
    this.#maxClients = common.maxClients;
    this.#runtime = runtime;
    this.#ipv6Subnet = common.ipv6Subnet;
    this.addressOf = byAddress(common.ipv6Subnet);
    const { address, accountAndAddress, account, maxConsecutiveFailures } = this.limits;
    const policy = (name: string, limit: number, windowMs: number, isUnshared = false): WindowPolicy =>
      Object.freeze({ name: `login:${name}`, limit, windowMs, isUnshared });
    this.#address = policy("address", address.limit, address.windowSeconds * 1000);
    this.#pair = policy("account-address", accountAndAddress.limit, accountAndAddress.windowSeconds * 1000);
    this.#account = policy("account", account.limit, account.windowSeconds * 1000);
    this.#consecutive =
      maxConsecutiveFailures === false
        ? undefined
        : policy("consecutive", maxConsecutiveFailures, CONSECUTIVE_MS, true);
    this.#known = policy("known", 1, KNOWN_MS, true);
  }

  /** Counts an attempt in all counters or in none; once, however often a request meets the guard. */
  attempt(account: string, req: Request, res: Response, state: RequestState): MaybePromise<LimitRefusal | undefined> {
    const address = this.addressOf(req, state);
    const pair = `${address} ${account}`;
    const entries: CountedIn[] = [];
    const note = (policy: WindowPolicy, key: string): CountedIn | undefined => {
      const entry = noteCount(state, this.store, policy, key, 1, this);
      if (entry !== undefined) entries.push(entry);
      return entry;
    };
    note(this.#address, address);
    note(this.#pair, pair);
    note(this.#account, `account ${account}`);
    if (entries.length === 0) return undefined;
    return mapMaybe(this.#isKnown(pair, state), (isKnown) => {
      const consecutive = this.#consecutive && note(this.#consecutive, isKnown ? pair : `account ${account}`);
      const requests = entries.map(({ policy, key, units }): WindowRequest => ({ policy, key, cost: units }));
      const applyOutcomes = (outcomes: readonly WindowOutcome[], counter: RateLimitStore): LimitRefusal | undefined => {
        const isRecorded = outcomes.every(({ allowed }) => allowed);
        for (const [index, entry] of entries.entries()) {
          entry.outcome = outcomes[index]!;
          entry.decidedAt = this.#runtime.clock.now();
          entry.counter = counter;
          entry.recordedAt = isRecorded ? entry.outcome.recordedAt : undefined;
          if (!isRecorded && this.limits.mode === "report") undoCount(entry);
        }
        if (!isRecorded) return this.#refusal(requests, outcomes, req, res);
        this.#onLogIn(state, entries, consecutive, pair, counter);
        return undefined;
      };
      const guard = guardFor(this.store, this.#runtime, this.storeTimeoutMs);
      const count = {
        requests,
        applyOutcomes: (outcomes: readonly WindowOutcome[]) => applyOutcomes(outcomes, this.store),
        onStoreFailure: () => {
          if (this.#onStoreError === "allow") return undefined;
          if (this.#onStoreError === "deny") return STORE_DOWN;
          const local = this.#local();
          return applyOutcomes(local.consumeAll(requests, true), local);
        },
      };
      return consumeLimits(this.store, guard, [count], state);
    });
  }

  /**
   * Forgets the attempts for an account, whose password is a new one: those of all addresses together, and those of the
   * client of a request. While the store fails, they count until they leave their windows; its guard has announced it.
   */
  async forget(account: string, req?: Request): Promise<void> {
    const state = req === undefined ? undefined : stateIn(req);
    const pair = req === undefined || state === undefined ? [] : [`${this.addressOf(req, state)} ${account}`];
    const windows = [
      [this.#account, [`account ${account}`]],
      [this.#consecutive, [`account ${account}`, ...pair]],
      [this.#pair, pair],
    ] as const;
    const guard = guardFor(this.store, this.#runtime, this.storeTimeoutMs);
    const work = windows.flatMap(([policy, keys]) =>
      keys.map(async (key) => {
        if (policy === undefined) return;
        this.#fallback?.reset(policy, key);
        await guard.run(() => this.store.reset(policy, key));
      }),
    );
    await Promise.allSettled(work);
  }

  /** The policy and the key of a counter, as `security.limits` names it. */
  named(name: LoginCounterName, client: string): { readonly policy: WindowPolicy; readonly key: string } {
    const address = (text: string): string => namedAddress(text, this.#ipv6Subnet) ?? text;
    if (name === "login-address") return { policy: this.#address, key: address(client) };
    if (name === "login-account") return { policy: this.#account, key: `account ${accountHash(client)}` };
    const space = client.indexOf(" ");
    const [from, account] = space === -1 ? ["", client] : [client.slice(0, space), client.slice(space + 1)];
    if (name === "login-account-address")
      return { policy: this.#pair, key: `${address(from)} ${accountHash(account)}` };
    const isPair = space !== -1 && namedAddress(from, this.#ipv6Subnet) !== undefined;
    const key = isPair ? `${address(from)} ${accountHash(account)}` : `account ${accountHash(client)}`;
    return { policy: this.#consecutive ?? this.#known, key };
  }

  /** The counters as `security.limits` lists them. */
  listed(): readonly ListedLimit[] {
    const names = LOGIN_COUNTERS.filter((name) => name !== "login-consecutive" || this.#consecutive !== undefined);
    return names.map((name) => {
      const { policy } = this.named(name, "");
      const fixed = [{ policy, text: limitText(false, name, policy.limit, policy.windowMs) }];
      return {
        limit: {
          name,
          counts: { fixed, policies: [policy] },
          keyNamed: (client) => this.named(name, client).key,
          store: this.store,
          storeTimeoutMs: this.storeTimeoutMs,
          isFailure: undefined,
          block: undefined,
        },
        forgetLocally: (key) => this.#fallback?.reset(policy, key),
      };
    });
  }

  /** Takes back what an entry has recorded, once: for a log-in that ends without `logIn`. */
  giveBack(entry: CountedIn): MaybePromise<boolean> {
    return takeBack(entry, this.#runtime, this.storeTimeoutMs);
  }

  close(): void {
    this.#fallback?.close();
  }

  #local(): SlidingWindowStore {
    this.#fallback ??= new SlidingWindowStore({ maxClients: this.#maxClients, clock: this.#runtime.clock });
    return this.#fallback;
  }

  /** Whether the account was logged in to from this address. While the store fails, no address is known. */
  #isKnown(pair: string, state: RequestState): MaybePromise<boolean> {
    if (this.#consecutive === undefined) return false;
    const guard = guardFor(this.store, this.#runtime, this.storeTimeoutMs);
    try {
      const answer = guard.run(() => this.store.peek(this.#known, pair, 0), undefined, state);
      if (!(answer instanceof Promise)) return answer.used > 0;
      return answer.then(
        ({ used }) => used > 0,
        () => false,
      );
    } catch {
      return false;
    }
  }

  /** A log-in gives back what its own request has taken, ends the run of failures, and makes the address known. */
  #onLogIn(
    state: RequestState,
    taken: readonly Taken[],
    consecutive: Taken | undefined,
    pair: string,
    counter: RateLimitStore,
  ): void {
    const before = state.onLogIn;
    state.onLogIn = () => {
      before?.();
      state.onLogIn = undefined;
      takeBackSoon(taken, this.#runtime, this.storeTimeoutMs);
      if (consecutive === undefined) return;
      const guard = guardFor(counter, this.#runtime, this.storeTimeoutMs);
      const known = this.#known;
      const work = async (): Promise<void> => {
        await guard.run(() => counter.reset(consecutive.policy, consecutive.key));
        await guard.run(() => counter.reset(known, pair));
        await guard.run(async () => void (await counter.consume(known, pair, 1)));
      };
      // When the store does not answer, its guard has announced it; the failures count until they leave the window.
      work().catch(() => undefined);
    };
  }

  #refusal(
    requests: readonly WindowRequest[],
    outcomes: readonly WindowOutcome[],
    req: Request,
    res: Response,
  ): LimitRefusal | undefined {
    const judged = requests.map(({ policy }, index) => ({ policy, verdict: decide(outcomes[index]!, policy.limit) }));
    const { policy, verdict } = tightest(judged);
    const refusal = {
      code: "rate-limited",
      reason: policy.name,
      event: "authn_login_fail_max",
      headers: { "Retry-After": String(verdict.retryAfterSeconds) },
    } as const;
    if (this.limits.mode === "enforce") return { source: SOURCE, refusal };
    refuse(req, res, SOURCE, refusal, "report");
    return undefined;
  }
}

/** Names of the counters in `security.limits`. */
const LOGIN_COUNTERS = ["login-address", "login-account-address", "login-account", "login-consecutive"] as const;
type LoginCounterName = (typeof LOGIN_COUNTERS)[number];

/** The source of its events. */
export const SOURCE = "login-guard";

const STORE_DOWN: LimitRefusal = {
  source: SOURCE,
  refusal: { code: "store-unavailable", reason: "rate-limit-store", headers: RETRY_SOON, event: false },
};
