import type { Runtime } from "../../core/runtime.js";
import { StoreUnavailableError } from "../health/store-guard.js";
import { circuitBreakerOf, backendOf } from "../health/backend.js";
import { faultOf } from "../health/store-fault.js";

/** The client name of the feed in the circuit of a late server. */
const READER = "change feed";

/**
 * Whether the change log can be read, according to the circuit of its server. Announces it in events. A reading also
 * detects, without any request, that the server of all its stores is down or has recovered.
 */
export class FeedHealth {
  readonly #runtime: Runtime;
  readonly #feed: object;
  readonly #lateMs: number;
  #isAnnouncedDown = false;

  /**
   * @param feed the object that was registered on the server (`registerBackend`)
   * @param lateMs a reading that took longer would have been too late for a request, and does not count as recovery
   */
  constructor(runtime: Runtime, feed: object, lateMs: number) {
    this.#runtime = runtime;
    this.#feed = feed;
    this.#lateMs = lateMs;
  }

  /**
   * Reads, unless the server is known to be down.
   *
   * @param isMissed whether a failure leaves this process without an answer; it is then announced
   * @throws StoreUnavailableError (rejects) when it is down; otherwise the error of `reading`
   */
  async attempt(reading: () => Promise<void>, isMissed: () => boolean): Promise<void> {
    const server = backendOf(this.#feed);
    const circuit = server && circuitBreakerOf(server, this.#runtime);
    const permit = circuit?.tryAcquire(READER);
    if (circuit !== undefined && permit === undefined) throw new StoreUnavailableError("revocation");
    const began = this.#runtime.clock.monotonic();
    const successes = circuit?.successes ?? 0;
    try {
      await reading();
    } catch (error) {
      const fault = faultOf(error);
      const isSilent = fault === "unreachable" || fault === "late";
      if (permit !== undefined && isSilent) circuit?.failed(permit, error);
      else if (permit !== undefined) circuit?.release(permit);
      if ((circuit === undefined || !isSilent) && isMissed()) this.#announceDown();
      throw error;
    }
    this.#announceUp();
    if (permit === undefined) return;
    if (this.#runtime.clock.monotonic() - began > this.#lateMs) {
      if (permit.isProbe) circuit?.timedOut(permit, successes, new Error("late"), READER);
      else circuit?.release(permit);
    } else circuit?.succeeded(permit);
  }

  #announceDown(): void {
    if (this.#isAnnouncedDown) return;
    this.#isAnnouncedDown = true;
    this.#runtime.events.emit("portcullis_store_unavailable", () => ({ source: "revocations", reason: "failed" }));
  }

  #announceUp(): void {
    if (!this.#isAnnouncedDown) return;
    this.#isAnnouncedDown = false;
    this.#runtime.events.emit("portcullis_store_recovered", () => ({ source: "revocations", reason: "answered" }));
  }
}
