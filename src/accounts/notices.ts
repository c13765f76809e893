import { inTime, LATE } from "../core/in-time.js";
import type { Runtime } from "../core/runtime.js";
import { AppFunctionWarnings } from "./app-function.js";
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
  readonly #warnings: AppFunctionWarnings;
  readonly #sending = new Set<Promise<void>>();

  constructor(notify: Notify | undefined, runtime: Runtime) {
    this.#notify = notify;
    this.#runtime = runtime;
    this.#warnings = new AppFunctionWarnings(runtime);
  }

  /** Whether the app can tell people anything. */
  get canSend(): boolean {
    return this.#notify !== undefined;
  }

  /** Sends a notice after the answer has been decided. */
  send(notice: AccountNotice): void {
    const notify = this.#notify;
    if (notify === undefined) return;
    if (this.#sending.size >= MOST_WAITING) return this.#failed(notice, "too-many");
    const work = new Promise((resolve) => setImmediate(resolve))
      .then(() => inTime(Promise.resolve(notify(Object.freeze(notice))), NOTIFY_MS))
      .then(
        (answer) => {
          if (answer !== LATE) return;
          this.#warnings.late("notify");
          this.#failed(notice, "late");
        },
        (error: unknown) => {
          this.#warnings.threw("notify", error);
          this.#failed(notice, "failed");
        },
      )
      .finally(() => this.#sending.delete(work));
    this.#sending.add(work);
  }

  /** Resolves when every notice that was sent has been handled, and in any case after five seconds. */
  async close(): Promise<void> {
    await inTime(Promise.all(this.#sending), CLOSE_MS);
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
