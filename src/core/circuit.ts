import type { Runtime } from "./runtime.js";

/** Leave to call, given by `admit` and handed back with the result. */
export interface Pass {
  readonly isProbe: boolean;
  /** Between which two recoveries the call began. */
  readonly generation: number;
}

/** How long after a failure one call tries again, in milliseconds: soon after the first, doubling up to the longest. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 500;

/**
 * A circuit breaker: after a failure calls are not made, save one probe at a time, until a probe succeeds. Going down and
 * coming back are announced once each.
 */
export class Circuit {
  readonly #source: string;
  readonly #runtime: Runtime;
  #isDown = false;
  #isProbing = false;
  #pauseMs = FIRST_PAUSE_MS;
  #nextProbe = 0;
  #usual: Pass = { isProbe: false, generation: 0 };

  constructor(source: string, runtime: Runtime) {
    this.#source = source;
    this.#runtime = runtime;
  }

  get isDown(): boolean {
    return this.#isDown;
  }

  /** Whether a call may be made now. Whoever got a pass hands it to `worked`, `failed` or `returned`, exactly once. */
  admit(): Pass | undefined {
    if (!this.#isDown) return this.#usual;
    if (this.#isProbing || this.#runtime.clock.monotonic() < this.#nextProbe) return undefined;
    this.#isProbing = true;
    return { isProbe: true, generation: this.#usual.generation };
  }

  worked(pass: Pass): void {
    if (!pass.isProbe) return;
    this.#isProbing = false;
    this.#isDown = false;
    this.#usual = { isProbe: false, generation: pass.generation + 1 };
    this.#runtime.events.emit("portcullis_store_recovered", () => ({ source: this.#source, reason: "answered" }));
  }

  failed(pass: Pass, error: unknown): void {
    if (pass.isProbe) {
      this.#isProbing = false;
      this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    } else {
      // A call from before the last recovery tells of the outage that is over.
      if (this.#isDown || pass.generation !== this.#usual.generation) return;
      this.#isDown = true;
      this.#pauseMs = FIRST_PAUSE_MS;
      this.#runtime.events.emit("portcullis_store_unavailable", () => ({ source: this.#source, reason: reasonOf(error) }));
    }
    this.#nextProbe = this.#runtime.clock.monotonic() + this.#pauseMs;
  }

  /** The call was not made, or its result says nothing of what this circuit stands for. */
  returned(pass: Pass): void {
    if (pass.isProbe) this.#isProbing = false;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "failed";
}
