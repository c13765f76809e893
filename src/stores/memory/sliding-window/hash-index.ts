import { NONE } from "./blocks.js";

/** The index has this many parts. Each grows by itself, so that growing never stops the process for long. */
const PARTS = 64;
const PART_BITS = 6;
const FIRST_CELLS = 16;

/** Open addressing with linear probing: pairs of hash and slot + 1, where slot 0 + 1 = 0 means an empty cell. */
interface Part {
  cells: Int32Array;
  size: number;
}

/**
 * Maps a client to its slot. A `Map` would need three times the memory and, at a million clients, twice the time. Here
 * the hashes lie side by side, so that a key is compared only when it is very likely the right one.
 */
export class HashIndex {
  readonly #parts: (Part | undefined)[] = [];
  readonly #isAt: (slot: number, key: string, table: number) => boolean;

  /** @param isAt whether the slot belongs to that key of that table */
  constructor(isAt: (slot: number, key: string, table: number) => boolean) {
    this.#isAt = isAt;
  }

  /** The slot of a client, or -1. */
  find(hash: number, key: string, table: number): number {
    const part = this.#parts[hash & (PARTS - 1)];
    if (part === undefined) return NONE;
    const { cells } = part;
    const mask = (cells.length >> 1) - 1;
    for (let at = (hash >>> PART_BITS) & mask; ; at = (at + 1) & mask) {
      const slot = cells[2 * at + 1]! - 1;
      if (slot === NONE) return NONE;
      if (cells[2 * at] === hash && this.#isAt(slot, key, table)) return slot;
    }
  }

  /** Adds a client that is not in the index. */
  add(hash: number, slot: number): void {
    const part = (this.#parts[hash & (PARTS - 1)] ??= { cells: new Int32Array(2 * FIRST_CELLS), size: 0 });
    // At most two thirds full, so that probe sequences stay short.
    if (3 * (part.size + 1) > part.cells.length) resize(part, part.cells.length * 2);
    put(part.cells, hash, slot);
    part.size += 1;
  }

  remove(hash: number, slot: number): void {
    const number = hash & (PARTS - 1);
    const part = this.#parts[number];
    if (part === undefined) return;
    const { cells } = part;
    const mask = (cells.length >> 1) - 1;
    let at = (hash >>> PART_BITS) & mask;
    while (cells[2 * at + 1] !== slot + 1) {
      if (cells[2 * at + 1] === 0) return;
      at = (at + 1) & mask;
    }
    closeGap(cells, at, mask);
    part.size -= 1;
    if (part.size === 0) this.#parts[number] = undefined;
    else if (cells.length > 2 * FIRST_CELLS && part.size * 16 < cells.length) resize(part, cells.length / 4);
  }

  clear(): void {
    this.#parts.length = 0;
  }
}

function put(cells: Int32Array, hash: number, slot: number): void {
  const mask = (cells.length >> 1) - 1;
  let at = (hash >>> PART_BITS) & mask;
  while (cells[2 * at + 1] !== 0) at = (at + 1) & mask;
  cells[2 * at] = hash;
  cells[2 * at + 1] = slot + 1;
}

/**
 * Moves later cells of the chain into the gap, so that no deletion marker is needed (Knuth, TAOCP 6.4, algorithm R).
 */
function closeGap(cells: Int32Array, from: number, mask: number): void {
  let gap = from;
  for (let at = (gap + 1) & mask; cells[2 * at + 1] !== 0; at = (at + 1) & mask) {
    const home = (cells[2 * at]! >>> PART_BITS) & mask;
    if (((at - home) & mask) < ((at - gap) & mask)) continue;
    cells[2 * gap] = cells[2 * at]!;
    cells[2 * gap + 1] = cells[2 * at + 1]!;
    gap = at;
  }
  cells[2 * gap] = 0;
  cells[2 * gap + 1] = 0;
}

function resize(part: Part, length: number): void {
  const cells = new Int32Array(Math.max(length, 2 * FIRST_CELLS));
  for (let i = 0; i < part.cells.length; i += 2)
    if (part.cells[i + 1] !== 0) put(cells, part.cells[i]!, part.cells[i + 1]! - 1);
  part.cells = cells;
}
