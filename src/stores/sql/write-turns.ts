import { setTimeout as sleep } from "node:timers/promises";
import type { PortcullisDatabase } from "./schema.js";

/** How long one process writes without a pause, in milliseconds. */
const RUN_MS = 20;
/** The pause, in milliseconds: longer than another process takes from one attempt to the next. */
const PAUSE_MS = 4;
/** A time without a write that counts as a pause, in milliseconds. */
const IDLE_MS = 2;

const turnsOf = new WeakMap<PortcullisDatabase, WriteTurns>();

/** The turns of the writes to this database in this process. */
export function writeTurns(db: PortcullisDatabase): WriteTurns {
  let turns = turnsOf.get(db);
  if (turns === undefined) turnsOf.set(db, (turns = new WriteTurns()));
  return turns;
}

/**
 * The writes of this process to one SQLite file, in the order in which they came: only the first of them tries to lock
 * the file.
 *
 * SQLite gives the lock to the process that asks at the right moment, not to the one that has waited longest
 * (https://www.sqlite.org/c3ref/busy_handler.html). A process that writes without a pause would leave the others a
 * moment that they hardly ever hit. Therefore it pauses now and then, and no write of another process waits for longer
 * than such a run takes.
 */
export class WriteTurns {
  #last: Promise<unknown> = Promise.resolve();
  #runBegan = 0;
  #endedAt = -Infinity;

  /** Calls `write` when the writes before it have ended. `write` calls `began` once it has locked the file. */
  take<T>(write: (began: () => void) => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => this.#run(write));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** Resolves when the writes that were begun have ended. */
  async settled(): Promise<void> {
    await this.#last;
  }

  async #run<T>(write: (began: () => void) => Promise<T>): Promise<T> {
    if (!this.#hasPaused() && performance.now() - this.#runBegan >= RUN_MS) await sleep(PAUSE_MS);
    try {
      return await write(() => {
        if (this.#hasPaused()) this.#runBegan = performance.now();
      });
    } finally {
      this.#endedAt = performance.now();
    }
  }

  #hasPaused(): boolean {
    return performance.now() - this.#endedAt >= IDLE_MS;
  }
}
