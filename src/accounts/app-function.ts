import { InvalidInputError } from "../core/portcullis-error.js";
import type { Runtime } from "../core/runtime.js";

/** How long no further failure of a function is told, in milliseconds. */
const QUIET_MS = 60_000;

/** Tells the developer that a function of the app has failed: a process warning, at most one a minute for each function. */
export class AppFunctionWarnings {
  readonly #runtime: Runtime;
  readonly #toldAt = new Map<string, number>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** @param name the setting, such as `users.findById` */
  late(name: string): void {
    this.#tell(name, () => "did not answer in time.");
  }

  /** The message of an error of the app may contain an address or a link, so it is told only with `debug`. */
  threw(name: string, error: unknown): void {
    this.#tell(name, () => `failed: ${described(error, this.#runtime.debug)}`);
  }

  #tell(name: string, what: () => string): void {
    const now = this.#runtime.clock.monotonic();
    if (now - (this.#toldAt.get(name) ?? -Infinity) < QUIET_MS) return;
    this.#toldAt.set(name, now);
    process.emitWarning(`The function ${name} of createAccounts ${what()}`, { code: "PORTCULLIS_ACCOUNTS_FUNCTION" });
  }
}

/** What an error is and where it was thrown. The app may have thrown anything, also an error that cannot be read. */
function described(error: unknown, debug: boolean): string {
  try {
    if (!(error instanceof Error)) return "it threw something that is not an Error.";
    // Ours say what the app returned instead of a person, without a value of it.
    const message = debug || error instanceof InvalidInputError ? `: ${error.message}` : "";
    const place = /^ {4}at .+$/m.exec(error.stack ?? "")?.[0].trim() ?? "";
    return `${error.name}${message} ${place}`.trim();
  } catch {
    return "it threw an error that cannot be read.";
  }
}
