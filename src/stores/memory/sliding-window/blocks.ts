/** Cells in one block; blocks are the unit of allocation. */
const BLOCK_CELLS = 8;
/** Cells of eight bytes in one page: 256 KiB, so that growing never copies existing cells. */
const PAGE_CELLS = 32768;
const PAGE_SHIFT = 15;
const PAGE_MASK = PAGE_CELLS - 1;

/**
 * A cell is two integers. All of the first and these bits of the second are the number: 53 bits, as many as a double
 * holds exactly.
 */
const HIGH_BITS = 0x1f_ffff;
const HIGH_UNIT = 2 ** 32;
/** Set when the number is negative. */
const SIGN_BIT = 0x20_0000;
/** The rest of the second integer. These bits of a block's first three cells together are the block's link. */
const SPARE_SHIFT = 22;
const SPARE_BITS = 10;
const SPARE_MASK = (1 << SPARE_BITS) - 1;
const NUMBER_MASK = SIGN_BIT | HIGH_BITS;

/** Stands for a missing cell or block. */
export const NONE = -1;
/** `NONE` as a link. */
const NO_LINK = 2 ** (3 * SPARE_BITS) - 1;

/**
 * Memory for many short queues of numbers, without an object per queue: blocks of eight cells from pages of typed
 * arrays, each block linked to the next one of its queue. Numbers are integers that a double holds exactly. That leaves
 * ten bits of their eight bytes for the links, so a recorded request costs eight bytes and no more. An array or ring
 * for each client would cost about 200 bytes before the first request.
 *
 * A number identifies a cell: `block × 8 + position`.
 */
export class Blocks {
  #pages: Int32Array[] = [];
  #free = NONE;
  #blocks = 0;
  #used = 0;

  /** Blocks allocated at present. */
  get used(): number {
    return this.#used;
  }

  read(cell: number): number {
    const page = this.#pages[cell >>> PAGE_SHIFT]!;
    const at = (cell & PAGE_MASK) << 1;
    const high = page[at + 1]!;
    const size = (high & HIGH_BITS) * HIGH_UNIT + (page[at]! >>> 0);
    return (high & SIGN_BIT) === 0 ? size : -size;
  }

  /** @param value an integer of at most 53 bits */
  write(cell: number, value: number): void {
    const page = this.#pages[cell >>> PAGE_SHIFT]!;
    const at = (cell & PAGE_MASK) << 1;
    const size = Math.abs(value);
    // Storing an integer reduces it modulo 2^32 (ECMA-262, ToInt32).
    page[at] = size;
    page[at + 1] = (page[at + 1]! & ~NUMBER_MASK) | (value < 0 ? SIGN_BIT : 0) | Math.floor(size / HIGH_UNIT);
  }

  /** The first cell of a new block without a next block. */
  take(): number {
    let block = this.#free;
    if (block === NONE) {
      block = this.#blocks;
      if ((block * BLOCK_CELLS) >>> PAGE_SHIFT === this.#pages.length) this.#pages.push(new Int32Array(2 * PAGE_CELLS));
      this.#blocks += 1;
    } else {
      this.#free = this.#link(block);
    }
    this.#setLink(block, NONE);
    this.#used += 1;
    return block * BLOCK_CELLS;
  }

  /** Frees the block that contains `cell`. */
  give(cell: number): void {
    const block = cell >>> 3;
    this.#setLink(block, this.#free);
    this.#free = block;
    this.#used -= 1;
    if (this.#used === 0) this.clear();
  }

  /** The cell after `cell` in its queue; `NONE` at the end of the last block. */
  after(cell: number): number {
    if (!isLastOfBlock(cell)) return cell + 1;
    const next = this.#link(cell >>> 3);
    return next === NONE ? NONE : next * BLOCK_CELLS;
  }

  /** The cell after `cell`, in a new block when its own is full. */
  extend(cell: number): number {
    if (!isLastOfBlock(cell)) return cell + 1;
    const first = this.take();
    this.#setLink(cell >>> 3, first >>> 3);
    return first;
  }

  /** Frees all blocks. The memory of a burst is released; one page stays for recurring traffic. */
  clear(): void {
    this.#pages.length = Math.min(this.#pages.length, 1);
    this.#free = NONE;
    this.#blocks = 0;
    this.#used = 0;
  }

  #link(block: number): number {
    const cell = block * BLOCK_CELLS;
    const page = this.#pages[cell >>> PAGE_SHIFT]!;
    const at = (cell & PAGE_MASK) << 1;
    const link =
      (page[at + 1]! >>> SPARE_SHIFT) |
      ((page[at + 3]! >>> SPARE_SHIFT) << SPARE_BITS) |
      ((page[at + 5]! >>> SPARE_SHIFT) << (2 * SPARE_BITS));
    return link === NO_LINK ? NONE : link;
  }

  #setLink(block: number, next: number): void {
    const cell = block * BLOCK_CELLS;
    const page = this.#pages[cell >>> PAGE_SHIFT]!;
    let rest = next === NONE ? NO_LINK : next;
    for (let at = ((cell & PAGE_MASK) << 1) + 1, last = at + 4; at <= last; at += 2) {
      page[at] = (page[at]! & NUMBER_MASK) | ((rest & SPARE_MASK) << SPARE_SHIFT);
      rest >>>= SPARE_BITS;
    }
  }
}

/** Whether `cell` is the last one of its block. */
export function isLastOfBlock(cell: number): boolean {
  return (cell & (BLOCK_CELLS - 1)) === BLOCK_CELLS - 1;
}
