import { BoundedCache } from "../core/bounded-cache.js";
import type { Runtime } from "../core/runtime.js";
import { ENDED_IDS, ENDED_MS } from "../stores/contracts.js";
import { sessionHandle } from "./session-cookie.js";

/** Why a session ended: `replaced` by a log-in, `revoked` through `sessions.end`, `ended` by a log-out or the app. */
export type EndReason = "ended" | "replaced" | "revoked";

interface Ending {
  readonly why: EndReason;
  readonly at: number;
}

/**
 * How long an honest client may still send an id that a log-in has replaced or `sessions.end` has ended: the request
 * was in flight, or it comes from another tab.
 */
const HONEST_MS = 60_000;

/** The ids of sessions that this process has ended recently. */
export class EndedSessions {
  readonly #runtime: Runtime;
  readonly #endings = new BoundedCache<Ending>({ max: ENDED_IDS, ttl: ENDED_MS });

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  has(sid: string): boolean {
    return this.#endings.has(sid);
  }

  /**
   * Whether a log-in has just replaced this session: the browser has the cookie of the new session, or is about to
   * receive it.
   */
  wasReplaced(sid: string): boolean {
    const ending = this.#endings.get(sid);
    return ending?.why === "replaced" && this.#isRecent(ending);
  }

  /** Records the end. Returns false when the session had ended before; the first reason is kept. */
  add(sid: string, why: EndReason): boolean {
    const before = this.#endings.get(sid);
    this.#endings.set(sid, before ?? { why, at: this.#runtime.clock.now() });
    return before === undefined;
  }

  /** Removes an end that did not reach the store. */
  delete(sid: string): void {
    this.#endings.delete(sid);
  }

  /** Announces that the id of an ended session was presented. */
  announceUse(sid: string): void {
    const ending = this.#endings.get(sid);
    const isHonest = ending !== undefined && ending.why !== "ended" && this.#isRecent(ending);
    this.#runtime.events.emit("session_use_after_expire", () => ({
      ...(isHonest ? { level: "INFO" } : {}),
      source: "session",
      reason: ending?.why ?? "ended",
      credentialId: sessionHandle(sid),
    }));
  }

  #isRecent({ at }: Ending): boolean {
    return this.#runtime.clock.now() - at < HONEST_MS;
  }
}
