import { NONE } from "./blocks.js";
import { MAX_UNITS, recordOf, timeOf, unitsOf } from "./record.js";
import { EXPIRES, HEAD, OWNER, RECORDS, TAIL, USED, type Slots } from "./slots.js";

/**
 * Logs of timestamps, one for each slot number: the records of one client, oldest first. Times are whole microseconds
 * that never decrease within one log. An operation reads only the records of the logs it gets; `clients.ts` bounds
 * their number, whatever the limit.
 */
export class Logs {
  readonly #cells: Slots;

  constructor(cells: Slots) {
    this.#cells = cells;
  }

  /** Slots allocated so far, including free ones: the range of a sweep. */
  get slots(): number {
    return this.#cells.given;
  }

  /** Opens a slot with an empty log. @param owner any number that the caller chooses, at least 0 */
  open(owner: number): number {
    const slot = this.#cells.open();
    this.#cells.page(slot).ints[this.#cells.at(slot) + OWNER] = owner;
    return slot;
  }

  /** Frees the slot and all its records. */
  close(slot: number): void {
    const { ints } = this.#cells.page(slot);
    const at = this.#cells.at(slot);
    while (ints[at + HEAD] !== NONE) this.#dropHead(ints, at);
    this.#cells.close(slot);
  }

  clear(): void {
    this.#cells.clear();
  }

  /** The number passed to `open`, or -1 for a free slot. */
  owner(slot: number): number {
    return this.#cells.page(slot).ints[this.#cells.at(slot) + OWNER]!;
  }

  /** When the newest record leaves the window it was recorded for. */
  expiresAt(slot: number): number {
    return this.#cells.page(slot).doubles[(this.#cells.at(slot) >> 1) + EXPIRES]!;
  }

  /** Units recorded. */
  used(slot: number): number {
    return this.#cells.page(slot).ints[this.#cells.at(slot) + USED]!;
  }

  /** Cells in use. */
  records(slot: number): number {
    return this.#cells.page(slot).ints[this.#cells.at(slot) + RECORDS]!;
  }

  /** The time of the oldest record, or `NaN` when there is none. */
  oldest(slot: number): number {
    const head = this.#head(slot);
    return head === NONE ? NaN : timeOf(this.#cells.read(head));
  }

  /** The time of the newest record, -1 when there is none. */
  newest(slot: number): number {
    return this.#newest(this.#tail(slot));
  }

  /** Removes what was recorded at `time` or before. */
  expire(slot: number, time: number): void {
    const { ints } = this.#cells.page(slot);
    const at = this.#cells.at(slot);
    for (let head = ints[at + HEAD]!; head !== NONE; head = ints[at + HEAD]!) {
      const record = this.#cells.read(head);
      // Also remove a record without units: `oldest` must return the time of the first record with units.
      if (timeOf(record) > time && unitsOf(record) > 0) return;
      this.#dropHead(ints, at);
    }
  }

  /**
   * Records units for a window of this length, at this time or at the newest record's, whichever is later.
   *
   * @returns the time of the record
   */
  add(slot: number, time: number, units: number, window: number): number {
    const { ints, doubles } = this.#cells.page(slot);
    const at = this.#cells.at(slot);
    const tail = ints[at + TAIL]!;
    const newest = this.#newest(tail);
    const later = Math.max(time, newest);
    ints[at + USED]! += units;
    const expires = (at >> 1) + EXPIRES;
    doubles[expires] = Math.max(doubles[expires]!, later + window);
    this.#write(slot, tail, newest === later, later, units);
    return later;
  }

  /**
   * The time of the record that completes `units` units, counted from the oldest record. Records of several logs are
   * counted in the order of their times.
   *
   * @param slot may be -1
   * @param others further logs; usually none
   */
  timeFreeing(units: number, slot: number, others: readonly number[]): number {
    if (others.length > 0) return this.#timeFreeingOf(units, slot === NONE ? others : [slot, ...others]);
    const tail = this.#tail(slot);
    let time = NaN;
    let cell = this.#head(slot);
    for (let left = units; left > 0 && cell !== NONE; cell = cell === tail ? NONE : this.#cells.after(cell)) {
      const record = this.#cells.read(cell);
      if (record >= 0) time = timeOf(record);
      left -= unitsOf(record);
    }
    return time;
  }

  /**
   * Removes up to `units` units recorded at exactly `time`.
   *
   * @returns how many; fewer when the log has no more such units
   */
  refund(slot: number, time: number, units: number): number {
    const { ints } = this.#cells.page(slot);
    const at = this.#cells.at(slot);
    const tail = ints[at + TAIL]!;
    let left = units;
    for (
      let cell = ints[at + HEAD]!;
      cell !== NONE && left > 0;
      cell = cell === tail ? NONE : this.#cells.after(cell)
    ) {
      const record = this.#cells.read(cell);
      const recorded = timeOf(record);
      // A second number belongs to the record before it, which is not of this time.
      if (record < 0 || recorded < time) continue;
      if (recorded > time) break;
      const next = cell === tail ? NONE : this.#cells.after(cell);
      const more = next === NONE ? 0 : -this.#cells.read(next);
      const fromMore = Math.max(0, Math.min(left, more));
      const fromRecord = Math.min(left - fromMore, unitsOf(record));
      // A second number of 0 would look like a record, so it becomes one: without units.
      if (fromMore > 0) this.#cells.write(next, fromMore === more ? recordOf(time, 0) : fromMore - more);
      if (fromRecord > 0) this.#cells.write(cell, record - fromRecord);
      left -= fromMore + fromRecord;
    }
    const removed = units - left;
    if (removed === 0) return 0;
    ints[at + USED]! -= removed;
    this.#dropEmptyHeads(ints, at);
    // Records without units may stay only while they are the smaller part, so that the log stays within its bound.
    if (ints[at + RECORDS]! > 2 * ints[at + USED]! + 8) this.#compact(slot, ints, at);
    return removed;
  }

  #head(slot: number): number {
    return this.#cells.page(slot).ints[this.#cells.at(slot) + HEAD]!;
  }

  #tail(slot: number): number {
    return this.#cells.page(slot).ints[this.#cells.at(slot) + TAIL]!;
  }

  #timeFreeingOf(units: number, slots: readonly number[]): number {
    const heads = slots.map((slot) => this.#head(slot));
    let time = NaN;
    for (let left = units; left > 0;) {
      let oldest = NONE;
      let record = Infinity;
      for (const [index, head] of heads.entries()) {
        // A second number is less than any record, so it comes right after its own record.
        const next = head === NONE ? Infinity : this.#cells.read(head);
        if (next < record) [oldest, record] = [index, next];
      }
      if (oldest === NONE) break;
      if (record >= 0) time = timeOf(record);
      left -= unitsOf(record);
      const cell = heads[oldest]!;
      heads[oldest] = cell === this.#tail(slots[oldest]!) ? NONE : this.#cells.after(cell);
    }
    return time;
  }

  /** The time of the newest record, -1 in an empty log. @param tail its last cell */
  #newest(tail: number): number {
    if (tail === NONE) return -1;
    const last = this.#cells.read(tail);
    return timeOf(last < 0 ? this.#cells.read(this.#cells.previous(tail)) : last);
  }

  /** @param isSameTime whether the record in the last cell, `last`, has that time */
  #write(slot: number, last: number, isSameTime: boolean, time: number, units: number): void {
    let tail = last;
    let follows = isSameTime;
    let left = follows ? units - this.#addTo(tail, units) : units;
    for (; left > 0; tail = this.#tail(slot)) {
      if (follows && this.#cells.hasNext(tail)) {
        this.#putCell(slot, this.#cells.extend(tail), -left);
        return;
      }
      const held = Math.min(left, MAX_UNITS);
      this.#putCell(slot, tail === NONE ? this.#cells.first(slot) : this.#cells.extend(tail), recordOf(time, held));
      left -= held;
      follows = true;
    }
  }

  /** Adds units to the newest record or its second number. @returns how many fitted */
  #addTo(cell: number, units: number): number {
    const held = this.#cells.read(cell);
    const more = held < 0 ? units : Math.min(units, MAX_UNITS - unitsOf(held));
    this.#cells.write(cell, held < 0 ? held - more : held + more);
    return more;
  }

  #putCell(slot: number, cell: number, value: number): void {
    const { ints } = this.#cells.page(slot);
    const at = this.#cells.at(slot);
    this.#cells.write(cell, value);
    if (ints[at + HEAD] === NONE) ints[at + HEAD] = cell;
    ints[at + TAIL] = cell;
    ints[at + RECORDS]! += 1;
  }

  #dropHead(ints: Int32Array, at: number): void {
    const head = ints[at + HEAD]!;
    ints[at + USED]! -= unitsOf(this.#cells.read(head));
    ints[at + RECORDS]! -= 1;
    const next = head === ints[at + TAIL] ? NONE : this.#cells.after(head);
    this.#cells.leave(head, next);
    if (next === NONE) this.#cells.empty(ints, at);
    else ints[at + HEAD] = next;
  }

  #dropEmptyHeads(ints: Int32Array, at: number): void {
    while (ints[at + HEAD] !== NONE && unitsOf(this.#cells.read(ints[at + HEAD]!)) === 0) this.#dropHead(ints, at);
  }

  #compact(slot: number, ints: Int32Array, at: number): void {
    const kept: { readonly time: number; units: number }[] = [];
    while (ints[at + HEAD] !== NONE) {
      const record = this.#cells.read(ints[at + HEAD]!);
      if (record < 0) kept.at(-1)!.units -= record;
      else if (unitsOf(record) > 0) kept.push({ time: timeOf(record), units: unitsOf(record) });
      this.#dropHead(ints, at);
    }
    for (const { time, units } of kept) {
      ints[at + USED]! += units;
      const tail = ints[at + TAIL]!;
      this.#write(slot, tail, this.#newest(tail) === time, time, units);
    }
  }
}
