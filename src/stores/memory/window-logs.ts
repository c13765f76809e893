import { NONE, WindowBlocks } from "./window-blocks.js";
import { MAX_UNITS, recordOf, timeOf, unitsOf } from "./window-records.js";

/** Slots in one page. */
const PAGE_SLOTS = 4096;
const PAGE_SHIFT = 12;
const PAGE_MASK = PAGE_SLOTS - 1;

/** A slot is 32 bytes: six integers and a double. */
const STRIDE = 8;
const HEAD = 0;
const TAIL = 1;
const USED = 2;
const RECORDS = 3;
const OWNER = 4;
const EXPIRES = 3; // as a double: bytes 24–31

interface SlotPage {
  readonly ints: Int32Array;
  readonly doubles: Float64Array;
}

/**
 * Logs of time stamps, each under a slot number: the records of one client, oldest first. Times are whole
 * microseconds that never go backwards within one log. All operations but `uncount` and `timeFreeing` take time in
 * proportion to the records they add or drop.
 */
export class WindowLogs {
  readonly #blocks = new WindowBlocks();
  #pages: SlotPage[] = [];
  /** The slot closed last; its `HEAD` names the one before. A list of its own would stop the process to grow. */
  #free = NONE;
  #slots = 0;
  #live = 0;

  /** Slots given out so far, free ones among them: what a sweep has to look at. */
  get slots(): number {
    return this.#slots;
  }

  /** A slot with an empty log. @param owner any number of the caller's, at least 0 */
  open(owner: number): number {
    const slot = this.#free === NONE ? this.#newSlot() : this.#free;
    const { ints, doubles } = this.#page(slot);
    const at = (slot & PAGE_MASK) * STRIDE;
    if (slot === this.#free) this.#free = ints[at + HEAD]!;
    ints[at + HEAD] = NONE;
    ints[at + TAIL] = NONE;
    ints[at + USED] = 0;
    ints[at + RECORDS] = 0;
    ints[at + OWNER] = owner;
    doubles[(at >> 1) + EXPIRES] = 0;
    this.#live += 1;
    return slot;
  }

  /** Gives the slot and all its records back. */
  close(slot: number): void {
    const { ints } = this.#page(slot);
    const at = (slot & PAGE_MASK) * STRIDE;
    while (ints[at + HEAD] !== NONE) this.#dropHead(ints, at);
    ints[at + OWNER] = NONE;
    this.#live -= 1;
    if (this.#live === 0) return this.clear();
    ints[at + HEAD] = this.#free;
    this.#free = slot;
  }

  clear(): void {
    this.#blocks.clear();
    this.#pages.length = Math.min(this.#pages.length, 1);
    this.#free = NONE;
    this.#slots = 0;
    this.#live = 0;
  }

  /** The number given to `open`, or -1 for a slot that is free. */
  owner(slot: number): number {
    return this.#page(slot).ints[(slot & PAGE_MASK) * STRIDE + OWNER]!;
  }

  /** When the newest record leaves the window it was recorded for. */
  expiresAt(slot: number): number {
    return this.#page(slot).doubles[(slot & PAGE_MASK) * (STRIDE / 2) + EXPIRES]!;
  }

  /** Units recorded. */
  used(slot: number): number {
    return this.#page(slot).ints[(slot & PAGE_MASK) * STRIDE + USED]!;
  }

  /** The time of the oldest record, or `NaN` when there is none. */
  oldest(slot: number): number {
    const head = this.#page(slot).ints[(slot & PAGE_MASK) * STRIDE + HEAD]!;
    return head === NONE ? NaN : timeOf(this.#blocks.read(head));
  }

  /** Drops what was recorded at `time` or before. */
  expire(slot: number, time: number): void {
    const { ints } = this.#page(slot);
    const at = (slot & PAGE_MASK) * STRIDE;
    for (let head = ints[at + HEAD]!; head !== NONE; head = ints[at + HEAD]!) {
      if (timeOf(this.#blocks.read(head)) > time) return;
      this.#dropHead(ints, at);
    }
  }

  /** Records units at a time no earlier than the newest record's, for a window that long. */
  add(slot: number, time: number, units: number, window: number): void {
    const { ints, doubles } = this.#page(slot);
    const at = (slot & PAGE_MASK) * STRIDE;
    ints[at + USED]! += units;
    const expires = (at >> 1) + EXPIRES;
    doubles[expires] = Math.max(doubles[expires]!, time + window);
    this.#write(ints, at, time, units);
  }

  /**
   * The time of the record with which, counted from the oldest, `units` units are gone.
   * Of two logs (`other` may be -1), the records are taken in the order of their times.
   */
  timeFreeing(units: number, slot: number, other: number): number {
    let a = this.#page(slot).ints[(slot & PAGE_MASK) * STRIDE + HEAD]!;
    let b = other === NONE ? NONE : this.#page(other).ints[(other & PAGE_MASK) * STRIDE + HEAD]!;
    const lastA = this.#page(slot).ints[(slot & PAGE_MASK) * STRIDE + TAIL]!;
    const lastB = other === NONE ? NONE : this.#page(other).ints[(other & PAGE_MASK) * STRIDE + TAIL]!;
    let time = NaN;
    for (let left = units; left > 0 && (a !== NONE || b !== NONE); ) {
      const fromA = b === NONE || (a !== NONE && this.#blocks.read(a) <= this.#blocks.read(b));
      // A second number is less than any record, so it is taken right after its own.
      const record = this.#blocks.read(fromA ? a : b);
      if (record >= 0) time = timeOf(record);
      left -= unitsOf(record);
      if (fromA) a = a === lastA ? NONE : this.#blocks.after(a);
      else b = b === lastB ? NONE : this.#blocks.after(b);
    }
    return time;
  }

  /**
   * Takes one unit recorded at exactly `time` out again.
   *
   * @returns false when no such unit is (still) in the log
   */
  uncount(slot: number, time: number): boolean {
    const { ints } = this.#page(slot);
    const at = (slot & PAGE_MASK) * STRIDE;
    const tail = ints[at + TAIL]!;
    for (let cell = ints[at + HEAD]!; cell !== NONE; cell = cell === tail ? NONE : this.#blocks.after(cell)) {
      const record = this.#blocks.read(cell);
      if (timeOf(record) > time) return false;
      if (timeOf(record) < time || unitsOf(record) === 0) continue;
      const next = cell === tail ? NONE : this.#blocks.after(cell);
      const more = next === NONE ? 0 : this.#blocks.read(next);
      if (more < 0) this.#blocks.write(next, more + 1);
      else this.#blocks.write(cell, record - 1);
      ints[at + USED]! -= 1;
      this.#dropEmptyHeads(ints, at);
      // Records of no units are only put up with while they are the smaller part: the log stays within its bound.
      if (ints[at + RECORDS]! > 2 * ints[at + USED]! + 8) this.#compact(ints, at);
      return true;
    }
    return false;
  }

  #write(ints: Int32Array, at: number, time: number, units: number): void {
    const left = units - this.#append(ints, at, time, units);
    if (left > 0) this.#putCell(ints, at, this.#blocks.extend(ints[at + TAIL]!), -left);
  }

  /** @returns how many of the units found room in one record */
  #append(ints: Int32Array, at: number, time: number, units: number): number {
    const tail = ints[at + TAIL]!;
    if (tail === NONE) {
      const first = this.#blocks.take();
      ints[at + HEAD] = first;
      return this.#put(ints, at, first, time, units);
    }
    const record = this.#blocks.read(tail);
    const held = unitsOf(record);
    if (timeOf(record) === time && held < MAX_UNITS) {
      const more = Math.min(units, MAX_UNITS - held);
      this.#blocks.write(tail, record + more);
      return more;
    }
    return this.#put(ints, at, this.#blocks.extend(tail), time, units);
  }

  #put(ints: Int32Array, at: number, cell: number, time: number, units: number): number {
    const held = Math.min(units, MAX_UNITS);
    this.#putCell(ints, at, cell, recordOf(time, held));
    return held;
  }

  #putCell(ints: Int32Array, at: number, cell: number, value: number): void {
    this.#blocks.write(cell, value);
    ints[at + TAIL] = cell;
    ints[at + RECORDS]! += 1;
  }

  #dropHead(ints: Int32Array, at: number): void {
    const head = ints[at + HEAD]!;
    ints[at + USED]! -= unitsOf(this.#blocks.read(head));
    ints[at + RECORDS]! -= 1;
    if (head === ints[at + TAIL]) {
      this.#blocks.give(head);
      ints[at + HEAD] = NONE;
      ints[at + TAIL] = NONE;
      return;
    }
    const next = this.#blocks.after(head);
    // The last cell of a block is read: the block is empty.
    if (head >>> 3 !== next >>> 3) this.#blocks.give(head);
    ints[at + HEAD] = next;
  }

  #dropEmptyHeads(ints: Int32Array, at: number): void {
    while (ints[at + HEAD] !== NONE && unitsOf(this.#blocks.read(ints[at + HEAD]!)) === 0) this.#dropHead(ints, at);
  }

  #compact(ints: Int32Array, at: number): void {
    const kept: { readonly time: number; units: number }[] = [];
    while (ints[at + HEAD] !== NONE) {
      const record = this.#blocks.read(ints[at + HEAD]!);
      if (record < 0) kept.at(-1)!.units -= record;
      else if (unitsOf(record) > 0) kept.push({ time: timeOf(record), units: unitsOf(record) });
      this.#dropHead(ints, at);
    }
    for (const { time, units } of kept) {
      ints[at + USED]! += units;
      this.#write(ints, at, time, units);
    }
  }

  #newSlot(): number {
    const slot = this.#slots;
    if (slot >>> PAGE_SHIFT === this.#pages.length) {
      const bytes = new ArrayBuffer(PAGE_SLOTS * STRIDE * 4);
      this.#pages.push({ ints: new Int32Array(bytes), doubles: new Float64Array(bytes) });
    }
    this.#slots += 1;
    return slot;
  }

  #page(slot: number): SlotPage {
    return this.#pages[slot >>> PAGE_SHIFT]!;
  }
}
