import { inTime, LATE } from "../core/in-time.js";
import { InvalidInputError, PortcullisError } from "../core/portcullis-error.js";
import type { Runtime } from "../core/runtime.js";

/** How long a function of the app may take, in milliseconds. */
const PATIENCE_MS = 5000;
/** How often one function is reported, in milliseconds: each request may repeat the mistake. */
const REPORT_MS = 60_000;

/**
 * A function of the app threw, rejected, returned something else than it must, or took too long. Nothing was decided, and
 * the same call may succeed soon.
 */
export class UsersUnavailableError extends PortcullisError {
  readonly code = "PORTCULLIS_USERS_UNAVAILABLE";
  /** Express's own error handler answers with it when the app passes the error on. */
  readonly status = 503;
  /** Whether the function itself said no. What became of a call that was late, or returned something else, nobody knows. */
  readonly hasRejected: boolean;

  /** @param setting such as `users.findById` */
  constructor(
    setting: string,
    { hasRejected, ...options }: { readonly cause?: unknown } & { readonly hasRejected: boolean },
  ) {
    super(`${setting} failed, or did not answer in time.`, options);
    this.name = "UsersUnavailableError";
    this.hasRejected = hasRejected;
  }
}

/** Calls functions of the settings, and tells whoever runs the app how they failed. */
export class AppFunctions {
  readonly #runtime: Runtime;
  /** When a function was reported last. */
  readonly #reportedAt = new Map<string, number>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /**
   * @param setting the function, such as `users.findById`
   * @param read makes the result of what the function returned, or throws
   * @throws UsersUnavailableError (rejects) with the error of the function as its cause
   */
  async call<T>(setting: string, run: () => unknown, read: (answer: unknown) => T): Promise<T> {
    let hasRejected = true;
    try {
      const answer = await inTime(Promise.resolve().then(run), PATIENCE_MS);
      hasRejected = false;
      if (answer !== LATE) return read(answer);
    } catch (cause) {
      this.failed(setting, cause);
      throw new UsersUnavailableError(setting, { hasRejected, cause });
    }
    this.failed(setting, LATE);
    throw new UsersUnavailableError(setting, { hasRejected });
  }

  /** Announces a function that has failed. The event does not say what it threw, which may contain anything. */
  failed(setting: string, cause: unknown): void {
    const reason = setting.replace(".", "-");
    this.#runtime.events.emit("portcullis_layer_failed", () => ({ source: "accounts", reason }));
    this.report(setting, cause);
  }

  /**
   * Warns of a function that has failed, at most once a minute for each. What it threw may contain an address, a link or a
   * code, so its message is told only with `debug`.
   *
   * @param cause what it threw, or LATE
   */
  report(setting: string, cause: unknown): void {
    const now = this.#runtime.clock.monotonic();
    if (now - (this.#reportedAt.get(setting) ?? -Infinity) < REPORT_MS) return;
    this.#reportedAt.set(setting, now);
    const what = cause === LATE ? "did not answer in time." : `failed: ${described(cause, this.#runtime.debug)}`;
    process.emitWarning(`The function ${setting} of createAccounts ${what}`, { code: "PORTCULLIS_ACCOUNTS_FUNCTION" });
  }
}

/** What an error is and where it was thrown. The app may have thrown anything, also an error that cannot be read. */
function described(error: unknown, debug: boolean): string {
  try {
    if (!(error instanceof Error)) return "it threw something that is not an Error.";
    // Ours say what the app returned instead of what it must, without a value of it.
    const message = debug || error instanceof InvalidInputError ? `: ${error.message}` : "";
    const place = /^ {4}at .+$/m.exec(error.stack ?? "")?.[0].trim() ?? "";
    return `${error.name}${message} ${place}`.trim();
  } catch {
    return "it threw an error that cannot be read.";
  }
}
