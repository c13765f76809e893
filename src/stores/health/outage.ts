import { writeRejectionReason } from "./store-fault.js";
import type { Runtime } from "../../core/runtime.js";

/**
 * Announces an outage of one backend or store: once when it starts, once when it has fully recovered. Several circuits
 * may share one outage, since a server that stops answering and comes back read-only is one outage.
 */
export class Outage {
  /** The source in its events. */
  readonly source: string;
  readonly #runtime: Runtime;
  readonly #recoveryDelayMs: () => number;
  readonly #where: { readonly variable?: string };
  #failures = 0;
  #quietTimer: NodeJS.Timeout | undefined;

  /**
   * @param recoveryDelayMs quiet period before the recovery is announced, in milliseconds; none by default
   * @param variable the environment variable that names the server
   */
  constructor(source: string, runtime: Runtime, recoveryDelayMs: () => number = () => 0, variable?: string) {
    this.source = source;
    this.#runtime = runtime;
    this.#recoveryDelayMs = recoveryDelayMs;
    this.#where = variable === undefined ? {} : { variable };
  }

  began(error: unknown): void {
    this.#failures += 1;
    if (this.#failures > 1) return;
    if (this.#quietTimer !== undefined) {
      clearTimeout(this.#quietTimer);
      this.#quietTimer = undefined;
      return;
    }
    this.#runtime.events.emit("portcullis_store_unavailable", () => ({
      source: this.source,
      reason: reasonOf(error),
      ...this.#where,
    }));
  }

  ended(): void {
    this.#failures -= 1;
    if (this.#failures > 0) return;
    const delayMs = this.#recoveryDelayMs();
    if (delayMs === 0) this.#announceEnd();
    else this.#quietTimer = setTimeout(() => this.#announceEnd(), delayMs).unref();
  }

  #announceEnd(): void {
    this.#quietTimer = undefined;
    this.#runtime.events.emit("portcullis_store_recovered", () => ({
      source: this.source,
      reason: "answered",
      ...this.#where,
    }));
  }
}

function reasonOf(error: unknown): string {
  const rejection = writeRejectionReason(error);
  if (rejection !== undefined) return rejection;
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "failed";
}
