import { faultOf } from "../health/store-fault.js";
import type { Change, ChangeSource } from "./changes.js";
import { within } from "../health/timeout.js";

/** What this process told is told again after an outage: a fail-over may have lost it after acknowledging it. */
const MOST = 10_000;
const KEPT_MS = 600_000;
/** Changes in one call. */
const SLICE = 500;
/** How long one call may take: no request waits for it, and one that never ends would end the putting back. */
const CALL_MS = 10_000;

/**
 * What this process put into the record, for as long as it may have to be put back. Putting back goes on until it is
 * done, beside the readings: what is read in time is believed also while the record takes nothing.
 */
export class Outbox {
  readonly #source: ChangeSource;
  readonly #inForce: () => readonly Change[];
  readonly #own: { readonly change: Change; readonly at: number }[] = [];
  #due: "nothing" | "own" | "all" = "nothing";
  #running: Promise<void> | undefined;

  /** @param inForce every denial this process remembers, whoever recorded it */
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

  /** Forgets changes that the record will never take, which would keep the others out with them. */
  remove(changes: readonly Change[]): void {
    for (const refused of changes) {
      const at = this.#own.findIndex(({ change }) => change === refused);
      if (at >= 0) this.#own.splice(at, 1);
    }
  }

  /** The record may lack what this process told. */
  mayBeMissing(): void {
    if (this.#due === "nothing") this.#due = "own";
  }

  /** The record was lost: it may lack what anybody told. */
  wasLost(): void {
    this.#due = "all";
  }

  /** Puts back what may be missing. One at a time; what fails is done again the next time this is called. */
  republish(): void {
    if (this.#due === "nothing" || this.#running !== undefined) return;
    this.#running = this.#putBack().finally(() => (this.#running = undefined));
  }

  async #putBack(): Promise<void> {
    const due = this.#due;
    // Before the call, so that what goes missing during it is noticed.
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
      await within(this.#source.restore(changes), CALL_MS);
    } catch (error) {
      if (!isPermanentError(error)) throw error;
      if (changes.length === 1) this.remove(changes);
      else for (const change of changes) await this.#restore([change]);
    }
  }
}

/** Whether an error says that these changes are at fault, and not the record. */
export function isPermanentError(error: unknown): boolean {
  return faultOf(error) === "input";
}
