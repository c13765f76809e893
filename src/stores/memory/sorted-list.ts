/** Most items in one chunk, and so the most that an insertion or a removal moves. */
const CHUNK = 64;

/**
 * Items in order. `add` and `remove` compare O(log n) items; `page` compares O(log n) and reads `limit`.
 * No two items may be equal by `compare`.
 */
export class SortedList<T> {
  readonly #compare: (a: T, b: T) => number;
  readonly #chunks: T[][] = [];
  #size = 0;

  /** @param compare negative when `a` comes first, as `Array.prototype.sort` takes it */
  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  get size(): number {
    return this.#size;
  }

  add(item: T): void {
    this.#size += 1;
    const at = Math.min(this.#chunkOf(item), this.#chunks.length - 1);
    const chunk = this.#chunks[at];
    if (chunk === undefined) {
      this.#chunks.push([item]);
      return;
    }
    chunk.splice(this.#indexIn(chunk, item), 0, item);
    if (chunk.length > CHUNK) this.#chunks.splice(at + 1, 0, chunk.splice(CHUNK / 2));
  }

  /** Removes the item that is equal to this one, if there is one. */
  remove(item: T): void {
    const at = this.#chunkOf(item);
    const chunk = this.#chunks[at];
    if (chunk === undefined) return;
    const index = this.#indexIn(chunk, item);
    const found = chunk[index];
    if (found === undefined || this.#compare(found, item) !== 0) return;
    chunk.splice(index, 1);
    this.#size -= 1;
    if (chunk.length === 0) this.#chunks.splice(at, 1);
  }

  /** The first `limit` items after `cursor`, which need not be in the list; without a cursor, from the beginning. */
  page(cursor: T | undefined, limit: number): T[] {
    const items: T[] = [];
    let at = cursor === undefined ? 0 : this.#chunkOf(cursor);
    let index = 0;
    const first = this.#chunks[at];
    if (cursor !== undefined && first !== undefined) {
      index = this.#indexIn(first, cursor);
      const found = first[index];
      if (found !== undefined && this.#compare(found, cursor) === 0) index += 1;
    }
    for (; items.length < limit && at < this.#chunks.length; at += 1, index = 0) {
      items.push(...(this.#chunks[at]?.slice(index, index + limit - items.length) ?? []));
    }
    return items;
  }

  /** The first chunk whose last item is not before this one. */
  #chunkOf(item: T): number {
    return firstIndex(this.#chunks, (chunk) => {
      const last = chunk.at(-1);
      return last !== undefined && this.#compare(last, item) >= 0;
    });
  }

  #indexIn(chunk: readonly T[], item: T): number {
    return firstIndex(chunk, (other) => this.#compare(other, item) >= 0);
  }
}

/**
 * Binary search: the first index whose value passes; the length when none does. All values after a passing one must
 * pass too.
 */
function firstIndex<T>(values: readonly T[], passes: (value: T) => boolean): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const value = values[middle];
    if (value !== undefined && passes(value)) high = middle;
    else low = middle + 1;
  }
  return low;
}
