/**
 * What a store may know of a write it is asked for. The caller waits until the deadline and is told 503 then, so nothing may
 * be committed after it; and once a commit is on its way, the caller waits for its outcome.
 */
export interface WriteCall {
  /** On the clock of `performance.now()`, in milliseconds. */
  readonly deadline: number;
  /**
   * To be called right before the commit is sent. False when the caller has been refused or the deadline is past: then the
   * store rolls back and rejects.
   */
  beginCommit(): boolean;
  /** To be called when the commit has been answered: the caller waits past the deadline for a commit and nothing else. */
  commitEnded(): void;
}

/** A store rolled a write back because its caller waits no longer. Nothing was changed. */
export class DeadlinePassedError extends Error {
  readonly code = "PORTCULLIS_DEADLINE_PASSED";

  constructor() {
    super("The time for this write was over before it could be committed.");
    this.name = "DeadlinePassedError";
  }
}
