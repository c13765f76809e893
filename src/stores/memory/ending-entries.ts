import { hasEnded } from "../credential-records.js";
import { SortedList } from "./sorted-list.js";

interface Entry {
  readonly id: string;
  readonly kind: string;
  readonly expiresAt: number | null;
}

/**
 * Entries that end by themselves, of each kind the first to end first. It says which one gives way in a full store: one of
 * the kind of which there are most, so that who makes many of a kind, as strangers can, takes no place of another kind.
 */
export class EndingEntries<T extends Entry> {
  readonly #kinds = new Map<string, SortedList<T>>();

  /** Does nothing for an entry that never ends, and so does `remove`. */
  add(one: T): void {
    if (one.expiresAt === null) return;
    const list = this.#kinds.get(one.kind) ?? new SortedList<T>(firstToEnd);
    list.add(one);
    this.#kinds.set(one.kind, list);
  }

  remove(one: T): void {
    if (one.expiresAt === null) return;
    const list = this.#kinds.get(one.kind);
    list?.remove(one);
    if (list?.size === 0) this.#kinds.delete(one.kind);
  }

  get size(): number {
    let size = 0;
    for (const list of this.#kinds.values()) size += list.size;
    return size;
  }

  /** One that has ended; `undefined` when there is none. Cost: O(kinds). */
  ended(now: number): T | undefined {
    for (const list of this.#kinds.values()) {
      const [first] = list.page(undefined, 1);
      if (first !== undefined && hasEnded(first, now)) return first;
    }
    return undefined;
  }

  /**
   * The one that gives way next: one that has ended, otherwise the first to end of the kind of which there are most.
   *
   * @param kept entries that stay; the cost is O(kinds × kept)
   */
  next(now: number, kept: ReadonlyMap<string, unknown>): T | undefined {
    let next: T | undefined;
    let most = 0;
    for (const list of this.#kinds.values()) {
      const first = list.page(undefined, kept.size + 1).find(({ id }) => !kept.has(id));
      if (first === undefined) continue;
      if (hasEnded(first, now)) return first;
      if (list.size <= most) continue;
      next = first;
      most = list.size;
    }
    return next;
  }
}

/** The order in which entries end; among those that end together it is any, but fixed. */
export function firstToEnd(one: Entry, other: Entry): number {
  return (one.expiresAt ?? Infinity) - (other.expiresAt ?? Infinity) || (one.id < other.id ? -1 : +(one.id > other.id));
}
