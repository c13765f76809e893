import type { Request } from "express";
import { detachString } from "./detach-string.js";
import { FairSlots } from "./fair-slots.js";
import { addressKey } from "./http/client-address.js";
import { inTime, isThenable, LATE } from "./in-time.js";
import type { MaybePromise } from "./maybe-promise.js";
import type { RequestState } from "./request-state.js";
import { type Refusal, RETRY_SOON } from "./response/problem.js";
import type { Runtime } from "./runtime.js";

/**
 * A function of the app that says whether it trusts an origin or a host: `true`, or a promise of `true`. Any other value
 * means that it does not. It has 250 milliseconds.
 */
export type TrustFunction = (name: string) => boolean | Promise<boolean>;

/** Whether the app trusts a name; `undefined` when its function gave no answer. */
export type Trust = boolean | undefined;

/** The refusal of a request for which there was no answer. The check has announced why. */
export const UNANSWERED: Refusal = Object.freeze({
  code: "store-unavailable",
  reason: "no-answer",
  headers: RETRY_SOON,
  event: false,
});

/** How long a promise of the function may take, in milliseconds. */
const TIMEOUT_MS = 250;
/** Calls under way for names that the function has not accepted before. */
const CALLS = 100;
/** How many of them one client may cause. */
const CALLS_OF_A_CLIENT = 25;
/** A late call counts among them until it settles, for at most this time, in milliseconds. */
const STUCK_MS = 10_000;
/** Number of names remembered as accepted; those accepted first are forgotten first. */
const KNOWN = 10_000;
/** An outage is over at the first answer after this time without a failure, in milliseconds. */
const QUIET_MS = 10_000;
/** A full house is announced at most once in this time, in milliseconds. */
const FULL_MS = 1000;
/** Length of the IPv6 prefix that counts as one client, in bits. */
const IPV6_SUBNET = 64;

type Failure = "function-threw" | "function-rejected" | "function-late";

/**
 * Asks a function of the app whether it trusts a name. Answers are not kept: requests share only a call that is under
 * way. A flood of invented names takes a bounded number of calls; names that the function has accepted before do not
 * count among them, so they are asked about during the flood too.
 */
export class TrustCheck {
  readonly #trusts: TrustFunction;
  readonly #source: string;
  readonly #setting: string;
  readonly #calls = new Map<string, Promise<Trust>>();
  readonly #slots = new FairSlots(CALLS, CALLS_OF_A_CLIENT);
  readonly #known = new Set<string>();
  #isOut = false;
  #failedAt = -Infinity;
  #fullAt = -Infinity;
  #hasWarned = false;

  /**
   * @param source the layer, for events
   * @param setting the path of the function in the settings, for warnings
   */
  constructor(trusts: TrustFunction, source: string, setting: string) {
    this.#trusts = trusts;
    this.#source = source;
    this.#setting = setting;
  }

  /**
   * Never throws or rejects. An answer that the function gives at once is returned at once.
   *
   * @param name in its only spelling
   */
  ask(name: string, req: Request, state: RequestState): MaybePromise<Trust> {
    const underWay = this.#calls.get(name);
    if (underWay !== undefined) return underWay;
    const { runtime } = state;
    const client = (): string => addressKey(state.address(req), IPV6_SUBNET);
    const isKnown = this.#known.has(name);
    if (!isKnown && !this.#slots.hasRoom(client)) return this.#full(runtime);
    let work: Promise<unknown>;
    try {
      const given: unknown = this.#trusts(name);
      if (!isThenable(given)) return this.#checked(name, given, runtime);
      work = Promise.resolve(given);
    } catch (error) {
      return this.#failed("function-threw", error, runtime);
    }
    if (!isKnown) holdUntilSettled(this.#slots.take(client()), work);
    const answer = inTime(work, TIMEOUT_MS)
      .then(
        (value) =>
          value === LATE ? this.#failed("function-late", undefined, runtime) : this.#checked(name, value, runtime),
        (error: unknown) => this.#failed("function-rejected", error, runtime),
      )
      .finally(() => this.#calls.delete(name));
    this.#calls.set(name, answer);
    return answer;
  }

  #checked(name: string, value: unknown, runtime: Runtime): boolean {
    if (typeof value !== "boolean") this.#warn(runtime);
    else if (this.#isOut) this.#answered(runtime);
    if (value !== true) {
      this.#known.delete(name);
      return false;
    }
    if (!this.#known.has(name)) this.#remember(name);
    return true;
  }

  #remember(name: string): void {
    const [first] = this.#known;
    if (this.#known.size >= KNOWN && first !== undefined) this.#known.delete(first);
    this.#known.add(detachString(name));
  }

  #failed(reason: Failure, error: unknown, runtime: Runtime): undefined {
    this.#failedAt = runtime.clock.monotonic();
    if (this.#isOut) return;
    this.#isOut = true;
    runtime.events.emit("portcullis_store_unavailable", () => ({ source: this.#source, reason }));
    const what = reason === "function-late" ? `took longer than ${TIMEOUT_MS} ms` : `failed: ${messageOf(error)}`;
    process.emitWarning(`The function ${this.#setting} ${what}`, { code: "PORTCULLIS_TRUST_FUNCTION" });
  }

  #answered(runtime: Runtime): void {
    // Some answers may come from a cache of the app while others fail.
    if (runtime.clock.monotonic() - this.#failedAt < QUIET_MS) return;
    this.#isOut = false;
    runtime.events.emit("portcullis_store_recovered", () => ({ source: this.#source, reason: "answered" }));
  }

  #full(runtime: Runtime): undefined {
    const now = runtime.clock.monotonic();
    if (now - this.#fullAt < FULL_MS) return;
    this.#fullAt = now;
    runtime.events.emit("portcullis_overload", () => ({ source: this.#source, reason: "calls" }));
  }

  #warn(runtime: Runtime): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    runtime.events.emit("portcullis_misconfigured", () => ({
      source: this.#source,
      reason: "function-gave-no-boolean",
    }));
    process.emitWarning(
      `The function ${this.#setting} returned a value that is not a boolean, which counts as false. Return true or false, or a promise of one.`,
      { code: "PORTCULLIS_TRUST_FUNCTION" },
    );
  }
}

/** Gives a slot back when the call has settled. A call that hangs does not keep it for ever. */
function holdUntilSettled(release: () => void, work: Promise<unknown>): void {
  const timer = setTimeout(release, STUCK_MS).unref();
  const end = (): void => {
    clearTimeout(timer);
    release();
  };
  work.then(end, end);
}

/** The app may have thrown anything: an error whose message is no text, or cannot be read. */
function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message) : "not an Error";
  } catch {
    return "an error whose message cannot be read";
  }
}
