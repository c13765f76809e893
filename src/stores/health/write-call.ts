import { PortcullisError } from "../../core/portcullis-error.js";

/**
 * The deadline of a write, for the store that performs it. The caller waits until the deadline and then gets 503, so
 * the store must not commit after it. Once a commit is in progress, the caller waits for its outcome.
 */
export interface WriteCall {
  /** On the clock of `performance.now()`, in milliseconds. */
  readonly deadline: number;
  /**
   * Call this right before sending the commit. False when the caller has got its failure or the deadline is past: the
   * store must then roll back and reject.
   */
  beginCommit(): boolean;
  /** Call this when the commit has been answered. The caller waits past the deadline for a commit only. */
  commitEnded(): void;
}

/** A store rolled back a write because its caller no longer waits. Nothing was changed. */
export class DeadlinePassedError extends PortcullisError {
  readonly code = "PORTCULLIS_DEADLINE_PASSED";

  constructor() {
    super("The deadline of this write passed before it could be committed.");
    this.name = "DeadlinePassedError";
  }
}

/**
 * A write that is done as soon as it begins: in memory, or by one message that cannot be taken back. Its caller does not
 * wait past the deadline for it.
 *
 * @throws DeadlinePassedError when the caller no longer waits; then nothing was done
 */
export function commitAtOnce<T>(call: WriteCall | undefined, work: () => T): T {
  if (call?.beginCommit() === false) throw new DeadlinePassedError();
  try {
    return work();
  } finally {
    call?.commitEnded();
  }
}
