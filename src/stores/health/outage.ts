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
  readonly #steadyMs: () => number;
  readonly #where: { readonly variable?: string };
  #troubles = 0;
  #steadying: NodeJS.Timeout | undefined;

  /**
   * @param steadyMs quiet period before the recovery is announced, in milliseconds; none by default
   * @param variable the environment variable that names the server
   */
  constructor(source: string, runtime: Runtime, steadyMs: () => number = () => 0, variable?: string) {
    this.source = source;
    this.#runtime = runtime;
    this.#steadyMs = steadyMs;
    this.#where = variable === undefined ? {} : { variable };
  }

  began(error: unknown): void {
    this.#troubles += 1;
    if (this.#troubles > 1) return;
    if (this.#steadying !== undefined) {
      clearTimeout(this.#steadying);
      this.#steadying = undefined;
      return;
    }
    this.#runtime.events.emit("portcullis_store_unavailable", () => ({
      source: this.source,
      reason: reasonOf(error),
      ...this.#where,
    }));
  }

  ended(): void {
    this.#troubles -= 1;
    if (this.#troubles > 0) return;
    const steadyMs = this.#steadyMs();
    if (steadyMs === 0) this.#tellEnd();
    else this.#steadying = setTimeout(() => this.#tellEnd(), steadyMs).unref();
  }

  #tellEnd(): void {
    this.#steadying = undefined;
    this.#runtime.events.emit("portcullis_store_recovered", () => ({
      source: this.source,
      reason: "answered",
      ...this.#where,
    }));
  }
}

function reasonOf(error: unknown): string {
  const declined = writeRejectionReason(error);
  if (declined !== undefined) return declined;
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "failed";
}
