/** Resets that are remembered; of an older one, no unit recorded before it is taken back. */
const MOST = 1000;
/** So many resets in one microsecond are told apart; a clock that stands still is one of a test. */
const PER_MICROSECOND = 16;

/**
 * Tells units recorded before a reset from those recorded after it, so that a refund takes back only what its request
 * has recorded. A receipt is the time of the record, with the number of resets so far in that microsecond as its
 * fraction.
 */
export class Resets {
  readonly #byClient = new Map<string, number>();
  /** Receipts before this one are void, whichever client they are of. */
  #floor = -1;
  #time = -1;
  #count = 0;

  /** The receipt for units recorded now. @param time microseconds */
  receipt(time: number): number {
    return time === this.#time ? time + Math.min(this.#count, PER_MICROSECOND - 1) / PER_MICROSECOND : time;
  }

  /** @param newest the latest time of a record that the client had, in microseconds */
  note(table: string, key: string, newest: number): void {
    const id = idOf(table, key);
    const from = this.#next(newest);
    this.#byClient.delete(id);
    this.#byClient.set(id, from);
    if (this.#byClient.size <= MOST) return;
    for (const [oldest, receipt] of this.#byClient) {
      this.#floor = Math.max(this.#floor, receipt);
      this.#byClient.delete(oldest);
      return;
    }
  }

  /** Notes that all clients were reset. */
  noteAll(newest: number): void {
    this.#byClient.clear();
    this.#floor = this.#next(newest);
  }

  isVoid(table: string, key: string, receipt: number): boolean {
    return receipt < this.#floor || (this.#byClient.size > 0 && receipt < (this.#byClient.get(idOf(table, key)) ?? 0));
  }

  #next(newest: number): number {
    this.#count = newest === this.#time ? this.#count + 1 : 1;
    this.#time = newest;
    return this.receipt(newest);
  }
}

function idOf(table: string, key: string): string {
  return `${table} ${key}`;
}
