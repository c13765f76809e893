/** Cells in one block; a block is the unit that is given out and taken back. */
const BLOCK_CELLS = 8;
/** Blocks in one page: 4096 × 8 × 8 bytes = 256 KiB, so growing never copies what is already there. */
const PAGE_BLOCKS = 4096;
const BLOCK_SHIFT = 12;
const PAGE_CELLS = PAGE_BLOCKS * BLOCK_CELLS;
const PAGE_SHIFT = 15;
const PAGE_MASK = PAGE_CELLS - 1;

/** What stands where there is no cell or block. */
export const NONE = -1;

/**
 * Memory for many short queues of numbers, without an object per queue: blocks of eight doubles out of pages of
 * typed arrays, each block linked to the next one of its queue. A recorded request costs eight bytes and its share of
 * a four-byte link; an array or ring of its own would cost a client about 200 bytes before the first request.
 *
 * A cell is named by its number: `block × 8 + position`.
 */
export class WindowBlocks {
  #pages: Float64Array[] = [];
  /** For each block in use the next of its queue, for each free block the next free one. */
  #links: Int32Array[] = [];
  #free = NONE;
  #blocks = 0;
  #used = 0;

  /** Blocks given out and not yet taken back. */
  get used(): number {
    return this.#used;
  }

  read(cell: number): number {
    return this.#pages[cell >>> PAGE_SHIFT]![cell & PAGE_MASK]!;
  }

  write(cell: number, value: number): void {
    this.#pages[cell >>> PAGE_SHIFT]![cell & PAGE_MASK] = value;
  }

  /** The first cell of a fresh block, followed by nothing. */
  take(): number {
    let block = this.#free;
    if (block === NONE) {
      block = this.#blocks;
      if (block >>> BLOCK_SHIFT === this.#pages.length) {
        this.#pages.push(new Float64Array(PAGE_CELLS));
        this.#links.push(new Int32Array(PAGE_BLOCKS));
      }
      this.#blocks += 1;
    } else {
      this.#free = this.#link(block);
    }
    this.#setLink(block, NONE);
    this.#used += 1;
    return block * BLOCK_CELLS;
  }

  /** Takes back the block that holds `cell`. */
  give(cell: number): void {
    const block = cell >>> 3;
    this.#setLink(block, this.#free);
    this.#free = block;
    this.#used -= 1;
    if (this.#used === 0) this.clear();
  }

  /** The cell after `cell` in its queue; `NONE` at the end of the last block. */
  after(cell: number): number {
    if ((cell & (BLOCK_CELLS - 1)) !== BLOCK_CELLS - 1) return cell + 1;
    const next = this.#link(cell >>> 3);
    return next === NONE ? NONE : next * BLOCK_CELLS;
  }

  /** The cell after `cell`, in a fresh block when its own is full. */
  extend(cell: number): number {
    if ((cell & (BLOCK_CELLS - 1)) !== BLOCK_CELLS - 1) return cell + 1;
    const first = this.take();
    this.#setLink(cell >>> 3, first >>> 3);
    return first;
  }

  /** Takes everything back. The memory of a burst goes; one page stays, for traffic that comes and goes. */
  clear(): void {
    this.#pages.length = Math.min(this.#pages.length, 1);
    this.#links.length = this.#pages.length;
    this.#free = NONE;
    this.#blocks = 0;
    this.#used = 0;
  }

  #link(block: number): number {
    return this.#links[block >>> BLOCK_SHIFT]![block & (PAGE_BLOCKS - 1)]!;
  }

  #setLink(block: number, next: number): void {
    this.#links[block >>> BLOCK_SHIFT]![block & (PAGE_BLOCKS - 1)] = next;
  }
}
