import { inTime, LATE } from "../core/in-time.js";
import type { Runtime } from "../core/runtime.js";
import type { AppFunctions } from "./app-functions.js";
import type { AccountNotice, Notify } from "./types.js";

/** Most notices that wait for the app's function at once; more are dropped, with an event for each. */
const MOST_WAITING = 1000;

/** How long the app's function may take, in milliseconds; then the notice has failed, and nothing waits for it. */
const NOTIFY_MS = 30_000;
/** How long `close` waits for it. */
const CLOSE_MS = 5000;

/** Tells people what happened to their account, by the app's function. No answer waits for it, and none depends on it. */
export class Notices {
  readonly #notify: Notify | undefined;
  readonly #runtime: Runtime;
  readonly #functions: AppFunctions;
  readonly #sending = new Map<AccountNotice, Promise<void>>();

  constructor(notify: Notify | undefined, runtime: Runtime, functions: AppFunctions) {
    this.#notify = notify;
    this.#runtime = runtime;
    this.#functions = functions;
  }

  /** Whether the app can tell people anything. */
  get canSend(): boolean {
    return this.#notify !== undefined;
  }

  /**
   * Sends a notice after the answer has been decided.
   *
   * @param onUnsent called when it was not sent; what became of one that is late, nobody knows
   */
  send(notice: AccountNotice, onUnsent: () => void = () => undefined): void {
    const notify = this.#notify;
    if (notify === undefined) return;
    if (this.#sending.size >= MOST_WAITING) {
      this.#failed(notice, "too-many");
      return onUnsent();
    }
    const work = new Promise((resolve) => setImmediate(resolve))
      // A function that hangs does not keep the process from its end.
      .then(() => inTime(Promise.resolve(notify(Object.freeze(notice))), NOTIFY_MS, false))
      .then(
        (answer) => void (answer === LATE && this.#gaveUp(notice, "late", LATE)),
        (error: unknown) => (this.#gaveUp(notice, "failed", error) ? onUnsent() : undefined),
      )
      .finally(() => this.#sending.delete(notice));
    this.#sending.set(notice, work);
  }

  /** Resolves when every notice that was sent has been handled, and in any case after five seconds. */
  async close(): Promise<void> {
    await inTime(Promise.all(this.#sending.values()), CLOSE_MS);
    for (const notice of this.#sending.keys()) this.#gaveUp(notice, "late", LATE);
  }

  /**
   * Announces once that a notice was not sent. What the function rejected with may contain the address or the link.
   *
   * @returns whether this call did
   */
  #gaveUp(notice: AccountNotice, reason: string, cause: unknown): boolean {
    if (!this.#sending.delete(notice)) return false;
    this.#failed(notice, reason);
    this.#functions.report("notify", cause);
    return true;
  }

  /** What it rejected with may contain the address or the link, so the event does not say it. */
  #failed({ kind, user }: AccountNotice, reason: string): void {
    const subject = user.id === undefined ? {} : { subject: String(user.id) };
    this.#runtime.events.emit("portcullis_notice_failed", () => ({
      source: "accounts",
      reason: `${kind}-${reason}`,
      ...subject,
    }));
  }
}
