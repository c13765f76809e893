import type { Clock } from "../../core/clock.js";
import type { CutOff } from "./changes.js";
import { Denylist, type SessionFacts } from "./denylist.js";

/** The cut-offs of the sessions of principals, as all processes share them. */
export interface SessionCutOffs {
  /** Whether this process has read the shared cut-offs recently enough to rely on `hasKnownEnd`. */
  readonly isCurrent: boolean;
  /** Whether this process knows that the session has been ended; false proves nothing unless `isCurrent`. */
  hasKnownEnd(session: SessionFacts): boolean;
  /** Whether the session has been ended. Rejects when that cannot be read. */
  hasEnded(session: SessionFacts): Promise<boolean>;
  /** The latest cut-off; one that was published anywhere before this call is in the answer. Rejects when it cannot be read. */
  sessionCutOffOf(principalId: string): number | undefined | Promise<number | undefined>;
  /** The latest cut-off that this process knows. */
  knownSessionCutOffOf(principalId: string): number | undefined;
  /**
   * The cut-off takes effect in every process when this resolves. `refused`, which is not later, takes effect in this
   * process at once; when the cut-off is refused, it takes effect in every process as soon as possible.
   */
  publishCutOff(cutOff: CutOff, refused: CutOff): Promise<void>;
}

/** Cut-offs in the memory of this process, for an app whose processes share no store. */
export class LocalCutOffs implements SessionCutOffs {
  readonly isCurrent = true;
  readonly #clock: Clock;
  readonly #denials = new Denylist();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  hasKnownEnd(session: SessionFacts): boolean {
    return this.#denials.hasEnded(session);
  }

  async hasEnded(session: SessionFacts): Promise<boolean> {
    return this.hasKnownEnd(session);
  }

  sessionCutOffOf(principalId: string): number | undefined {
    return this.#denials.sessionCutOffOf(principalId);
  }

  knownSessionCutOffOf(principalId: string): number | undefined {
    return this.#denials.sessionCutOffOf(principalId);
  }

  async publishCutOff(cutOff: CutOff): Promise<void> {
    this.#denials.deny(cutOff, this.#clock.now());
  }
}
