import { faultOf } from "../health/store-fault.js";
import type { Change, ChangeSource } from "./changes.js";
import { withTimeout } from "../health/timeout.js";

/** Changes of this process are republished after an outage: a failover may lose acknowledged writes. */
const MOST = 10_000;
const KEPT_MS = 600_000;
/** Changes in one call. */
const SLICE = 500;
/**
 * How long one call may take, in milliseconds: no request waits for it, and a call that never ends would stop the
 * republishing.
 */
const CALL_MS = 10_000;

/**
 * The changes that this process published, for as long as they may have to be republished. Republishing continues until
 * it is done, in parallel with the readings: what is read in time is valid even while the change log accepts no writes.
 */
export class Outbox {
  readonly #source: ChangeSource;
  readonly #inForce: () => readonly Change[];
  readonly #own: { readonly change: Change; readonly at: number }[] = [];
  #due: "nothing" | "own" | "all" = "nothing";
  #running: Promise<void> | undefined;

  /** @param inForce every denial that this process remembers, including those that other processes recorded */
  constructor(source: ChangeSource, inForce: () => readonly Change[]) {
    this.#source = source;
    this.#inForce = inForce;
  }

  /** @param at monotonic time, milliseconds */
  add(changes: readonly Change[], at: number): void {
    for (const change of changes) this.#own.push({ change, at });
    let old = 0;
    while (this.#own.length - old > MOST || (this.#own[old]?.at ?? at) < at - KEPT_MS) old += 1;
    if (old > 0) this.#own.splice(0, old);
  }

  /** Removes changes that the change log will never accept and that would block the others. */
  remove(changes: readonly Change[]): void {
    for (const refused of changes) {
      const at = this.#own.findIndex(({ change }) => change === refused);
      if (at >= 0) this.#own.splice(at, 1);
    }
  }

  /** The change log may lack changes of this process. */
  mayBeMissing(): void {
    if (this.#due === "nothing") this.#due = "own";
  }

  /** The change log was lost: it may lack changes of any process. */
  wasLost(): void {
    this.#due = "all";
  }

  /** Republishes changes that may be missing. One run at a time; the next call repeats what failed. */
  republish(): void {
    if (this.#due === "nothing" || this.#running !== undefined) return;
    this.#running = this.#republish().finally(() => (this.#running = undefined));
  }

  async #republish(): Promise<void> {
    const due = this.#due;
    // Set before the call, so that a loss during the call is noticed.
    this.#due = "nothing";
    const own = this.#own.map(({ change }) => change);
    const changes = due === "all" ? [...this.#inForce(), ...own] : own;
    try {
      for (let from = 0; from < changes.length; from += SLICE) await this.#restore(changes.slice(from, from + SLICE));
    } catch {
      if (due === "all") this.wasLost();
      else this.mayBeMissing();
    }
  }

  async #restore(changes: readonly Change[]): Promise<void> {
    try {
      await withTimeout(this.#source.restore(changes), CALL_MS);
    } catch (error) {
      if (!isPermanentError(error)) throw error;
      if (changes.length === 1) this.remove(changes);
      else for (const change of changes) await this.#restore([change]);
    }
  }
}

/** Whether an error means that these changes are invalid, not that the change log failed. */
export function isPermanentError(error: unknown): boolean {
  return faultOf(error) === "input";
}
