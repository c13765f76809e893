import { isLastOfBlock, NONE, Blocks } from "./blocks.js";

/** Slots in one page. */
const PAGE_SLOTS = 4096;
const PAGE_SHIFT = 12;
const PAGE_MASK = PAGE_SLOTS - 1;

/**
 * A slot is 64 bytes, one cache line of the processor: six integers, a double, a short key, and cells for two records.
 */
const STRIDE = 16;
/** Fields of a slot, as integers. */
export const HEAD = 0;
export const TAIL = 1;
export const USED = 2;
export const RECORDS = 3;
export const OWNER = 4;
/** The cell that follows the slot's own. */
const LINK = 5;
/** As a double: bytes 24 to 31. */
export const EXPIRES = 3;
/** As bytes, from 32 to 47: `slot-keys.ts` stores a client's key there. */
export const KEY = 32;
export const KEY_BYTES = 16;

/** The slot's own cells, the last quarter of it. */
const OWN_CELLS = 2;
const OWN_SHIFT = 1;
const OWN_AT = 6;

export interface SlotPage {
  readonly ints: Int32Array;
  readonly doubles: Float64Array;
  readonly bytes: Uint8Array;
}

/**
 * Slots and the cells of their queues. The slot contains the key of most clients and their first two records, which
 * saves two cache misses for infrequent clients. Further records are in blocks.
 *
 * Cells of blocks are numbered from 0 up, the cells of slots from -2 down.
 */
export class Slots {
  readonly #blocks = new Blocks();
  #pages: SlotPage[] = [];
  /**
   * The slot closed last; its `HEAD` is the one closed before. A separate list would stop the process while it grows.
   */
  #free = NONE;
  #given = 0;
  #live = 0;

  /** Slots allocated so far, including free ones: the range of a sweep. */
  get given(): number {
    return this.#given;
  }

  page(slot: number): SlotPage {
    return this.#pages[slot >>> PAGE_SHIFT]!;
  }

  /** The index of a slot's integers in its page; its doubles begin at half of that, its bytes at four times. */
  at(slot: number): number {
    return (slot & PAGE_MASK) * STRIDE;
  }

  /** Opens a slot with an empty queue. */
  open(): number {
    const slot = this.#free === NONE ? this.#newSlot() : this.#free;
    const { ints, doubles } = this.page(slot);
    const at = this.at(slot);
    if (slot === this.#free) this.#free = ints[at + HEAD]!;
    ints[at + USED] = 0;
    ints[at + RECORDS] = 0;
    doubles[(at >> 1) + EXPIRES] = 0;
    this.empty(ints, at);
    this.#live += 1;
    return slot;
  }

  /** Frees a slot whose queue is empty. */
  close(slot: number): void {
    this.#live -= 1;
    if (this.#live === 0) return this.clear();
    const at = this.at(slot);
    const { ints } = this.page(slot);
    ints[at + OWNER] = NONE;
    ints[at + HEAD] = this.#free;
    this.#free = slot;
  }

  clear(): void {
    this.#blocks.clear();
    this.#pages.length = Math.min(this.#pages.length, 1);
    this.#free = NONE;
    this.#given = 0;
    this.#live = 0;
  }

  /** Marks the queue as empty: its next record goes into the slot again. */
  empty(ints: Int32Array, at: number): void {
    ints[at + HEAD] = NONE;
    ints[at + TAIL] = NONE;
    ints[at + LINK] = NONE;
  }

  /** The cell of the first record of an empty queue. */
  first(slot: number): number {
    return -2 - (slot << OWN_SHIFT);
  }

  read(cell: number): number {
    if (cell >= 0) return this.#blocks.read(cell);
    const own = -2 - cell;
    return this.page(own >> OWN_SHIFT).doubles[ownAt(own)]!;
  }

  write(cell: number, value: number): void {
    if (cell >= 0) return this.#blocks.write(cell, value);
    const own = -2 - cell;
    this.page(own >> OWN_SHIFT).doubles[ownAt(own)] = value;
  }

  /** The cell after `cell` in its queue; `NONE` where there is none yet. */
  after(cell: number): number {
    if (cell >= 0) return this.#blocks.after(cell);
    return isLastOwn(cell) ? this.#linkOf(cell) : cell - 1;
  }

  /** Whether the cell after `cell` is beside it, in the same slot or block. */
  hasNext(cell: number): boolean {
    return cell >= 0 ? !isLastOfBlock(cell) : !isLastOwn(cell);
  }

  /** The cell before `cell`, which `hasNext`. */
  previous(cell: number): number {
    return cell >= 0 ? cell - 1 : cell + 1;
  }

  /** The cell after `cell`, in a new block when there is none yet. */
  extend(cell: number): number {
    if (cell >= 0) return this.#blocks.extend(cell);
    if (!isLastOwn(cell)) return cell - 1;
    const slot = (-2 - cell) >> OWN_SHIFT;
    const next = this.#blocks.take();
    this.page(slot).ints[this.at(slot) + LINK] = next;
    return next;
  }

  /** Drops the record in `cell`, which `next` follows; `NONE`: it was the last. */
  leave(cell: number, next: number): void {
    // This was the last cell of its block that was in use, so the block is free.
    if (cell >= 0 && (next === NONE || cell >>> 3 !== next >>> 3)) this.#blocks.give(cell);
  }

  #linkOf(cell: number): number {
    const slot = (-2 - cell) >> OWN_SHIFT;
    return this.page(slot).ints[this.at(slot) + LINK]!;
  }

  #newSlot(): number {
    const slot = this.#given;
    if (slot >>> PAGE_SHIFT === this.#pages.length) {
      const memory = new ArrayBuffer(PAGE_SLOTS * STRIDE * 4);
      this.#pages.push({
        ints: new Int32Array(memory),
        doubles: new Float64Array(memory),
        bytes: new Uint8Array(memory),
      });
    }
    this.#given += 1;
    return slot;
  }
}

/** The index of a slot's cell among the doubles of its page. */
function ownAt(own: number): number {
  return ((own >> OWN_SHIFT) & PAGE_MASK) * (STRIDE / 2) + OWN_AT + (own & (OWN_CELLS - 1));
}

function isLastOwn(cell: number): boolean {
  return ((-2 - cell) & (OWN_CELLS - 1)) === OWN_CELLS - 1;
}
