import type { WriteCall } from "./write-call.js";

/** How long a caller waits for the outcome of a commit in progress, in milliseconds, beyond the time-out. */
const COMMIT_MS = 5000;

/** One write, with the store's view of it (`WriteCall`) and the guard's. */
export class GuardedWrite implements WriteCall {
  readonly deadline: number;
  #state: "open" | "committing" | "given-up" | "in-doubt" = "open";
  #isExtended = false;

  /** @param deadline on the clock of `performance.now()`, in milliseconds */
  constructor(deadline: number) {
    this.deadline = deadline;
  }

  /** Whether the write may have been committed, if its caller gets a failure now. */
  get isInDoubt(): boolean {
    return this.#state === "committing" || this.#state === "in-doubt";
  }

  /** Whether the caller has waited past the time-out, for the outcome of a commit. */
  get isOverdue(): boolean {
    return this.#isExtended;
  }

  beginCommit(): boolean {
    if (this.#state === "in-doubt") return false;
    this.#state = this.#state === "given-up" || performance.now() >= this.deadline ? "given-up" : "committing";
    return this.#state === "committing";
  }

  commitEnded(): void {
    if (this.#state === "committing") this.#state = "open";
  }

  /** Call this when the time is over. Returns how many more milliseconds the caller waits: once, for a commit. */
  timeIsOver(): number | undefined {
    if (this.#state !== "committing") this.#state = "given-up";
    else if (this.#isExtended) this.#state = "in-doubt";
    else {
      this.#isExtended = true;
      return COMMIT_MS;
    }
    return undefined;
  }
}
