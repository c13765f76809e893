import { setImmediate as yieldToOthers } from "node:timers/promises";
import { systemClock, type Clock } from "../../core/clock.js";
import { StoreError } from "../../core/portcullis-error.js";
import type { SingleUseRecord, SingleUseStore, WriteCall } from "../contracts.js";
import { copySingleUse, hasEnded, SINGLE_USE_OF_ONE } from "../credential-records.js";
import { commitAtOnce } from "../health/write-call.js";
import { integer } from "../records.js";
import { EndingEntries, firstToEnd } from "./ending-entries.js";

const MAX_RECORDS = 100_000;
/** Records removed in one turn of a clean-up: about a millisecond of work. */
const CLEANED_PER_TURN = 2000;
const NONE: ReadonlyMap<string, unknown> = new Map();

export interface MemorySingleUseStoreSettings {
  readonly clock?: Clock | undefined;
  /**
   * Most records stored (default 100 000). When there is no room, an expired one gives way, then the first to end of the kind
   * of which there are most.
   */
  readonly maxRecords?: number | undefined;
}

/**
 * Records that can be used once, in this process's memory: gone after a restart, unknown to other processes. Every
 * method but `deleteExpired` does its work before it returns its promise, so each one is atomic. `put` and `take` cost
 * O(log n), `get` O(1), `deleteExpired` O(log n) for each one removed.
 */
export class MemorySingleUseStore implements SingleUseStore {
  readonly #records = new Map<string, SingleUseRecord>();
  /** Of each person and kind, at most ten. */
  readonly #groups = new Map<string, Set<SingleUseRecord>>();
  readonly #ending = new EndingEntries<SingleUseRecord>();
  readonly #clock: Clock;
  readonly #maxRecords: number;

  constructor(options: MemorySingleUseStoreSettings = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#maxRecords = options.maxRecords ?? MAX_RECORDS;
  }

  /** Records stored, including expired ones that are not removed yet. */
  get size(): number {
    return this.#records.size;
  }

  async init(): Promise<void> {}

  async put(record: SingleUseRecord, call?: WriteCall): Promise<void> {
    const copy = copySingleUse(record);
    if (this.#records.has(copy.id)) throw new StoreError("A single-use record with this id already exists.");
    commitAtOnce(call, () => {
      const group = this.#groups.get(groupOf(copy)) ?? new Set();
      if (group.size >= SINGLE_USE_OF_ONE) this.#drop([...group].sort(firstToEnd)[0]);
      else if (this.#records.size >= this.#maxRecords) this.#drop(this.#ending.next(this.#clock.now(), NONE));
      this.#groups.set(groupOf(copy), group.add(copy));
      this.#records.set(copy.id, copy);
      this.#ending.add(copy);
    });
  }

  async get(kind: string, id: string, now: number): Promise<SingleUseRecord | undefined> {
    return this.#find(kind, id, now);
  }

  async take(kind: string, id: string, now: number, call?: WriteCall): Promise<SingleUseRecord | undefined> {
    const found = this.#find(kind, id, now);
    if (found !== undefined) commitAtOnce(call, () => this.#drop(found));
    return found;
  }

  async deleteExpired(now: number): Promise<number> {
    integer(now);
    for (let deleted = 0; ;) {
      const ended = this.#ending.ended(now);
      if (ended === undefined) return deleted;
      this.#drop(ended);
      deleted += 1;
      if (deleted % CLEANED_PER_TURN === 0) await yieldToOthers();
    }
  }

  async close(): Promise<void> {}

  #find(kind: string, id: string, now: number): SingleUseRecord | undefined {
    const found = this.#records.get(id);
    return found === undefined || found.kind !== kind || hasEnded(found, now) ? undefined : found;
  }

  #drop(record: SingleUseRecord | undefined): void {
    if (record === undefined) return;
    this.#records.delete(record.id);
    this.#ending.remove(record);
    const group = this.#groups.get(groupOf(record));
    group?.delete(record);
    if (group?.size === 0) this.#groups.delete(groupOf(record));
  }
}

/** No kind contains a blank. */
function groupOf({ kind, ownerId }: SingleUseRecord): string {
  return `${kind} ${ownerId}`;
}
