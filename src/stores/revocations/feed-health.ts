import type { Runtime } from "../../core/runtime.js";
import { StoreUnavailableError } from "../health/store-guard.js";
import { circuitBreakerOf, backendOf } from "../health/backend.js";
import { faultOf } from "../health/store-fault.js";
import { withTimeout } from "../health/timeout.js";
import type { Run } from "./shared-run.js";

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
  readonly #longestMs: number;
  #isAnnouncedDown = false;

  /**
   * @param feed the object that was registered on the server (`registerBackend`)
   * @param lateMs a reading that took longer would have been too late for a request, and does not count as an answer
   * @param longestMs how long an attempt waits for a reading
   */
  constructor(
    runtime: Runtime,
    feed: object,
    { lateMs, longestMs }: { readonly lateMs: number; readonly longestMs: number },
  ) {
    this.#runtime = runtime;
    this.#feed = feed;
    this.#lateMs = lateMs;
    this.#longestMs = longestMs;
  }

  /**
   * Reads, unless the server is known to be down.
   *
   * @param read begins a reading, or joins one that an earlier attempt has given up
   * @param isMissed whether this process has no reading to answer from now; that is announced once, and its end once
   * @throws StoreUnavailableError (rejects) when it is down; otherwise the error of the reading
   */
  async attempt(read: () => Run, isMissed: () => boolean): Promise<void> {
    const server = backendOf(this.#feed);
    const circuit = server && circuitBreakerOf(server, this.#runtime);
    const permit = circuit?.tryAcquire(READER);
    if (circuit !== undefined && permit === undefined) throw new StoreUnavailableError("revocation");
    const successes = circuit?.successes ?? 0;
    const { done, began } = read();
    const answered = (): void => {
      if (permit === undefined) return;
      if (this.#runtime.clock.monotonic() - began <= this.#lateMs) circuit?.succeeded(permit);
      else if (permit.isProbe) circuit?.timedOut(permit, successes, new Error("late"), READER);
      else circuit?.release(permit);
    };
    try {
      await withTimeout(done, this.#longestMs);
    } catch (error) {
      const fault = faultOf(error);
      if (fault !== "unreachable" && fault !== "late") answered();
      else if (permit !== undefined) {
        // A long reading (many changes) of a server that answers others is not an outage of the server.
        if (fault === "late" && circuit?.successes !== successes) circuit?.timedOut(permit, successes, error, READER);
        else circuit?.failed(permit, error);
      }
      if (circuit?.isDown !== true && isMissed()) this.#announceDown();
      throw error;
    }
    if (!isMissed()) this.#announceUp();
    answered();
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
