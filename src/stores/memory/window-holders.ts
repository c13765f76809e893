import type { OverflowWindow } from "./window-tables.js";

const PAGE_SHIFT = 12;
const PAGE_MASK = (1 << PAGE_SHIFT) - 1;

/** Whose log a slot is: a client, by its key, or an overflow window. `""` for a slot that is free. */
export type Holder = string | OverflowWindow;

/** The holders of all slots, in pages: one array of a million of them stops the process for 6 ms each time it grows. */
export class WindowHolders {
  #pages: Holder[][] = [];

  get(slot: number): Holder {
    return this.#pages[slot >>> PAGE_SHIFT]![slot & PAGE_MASK]!;
  }

  set(slot: number, holder: Holder): void {
    (this.#pages[slot >>> PAGE_SHIFT] ??= [])[slot & PAGE_MASK] = holder;
  }

  clear(): void {
    this.#pages = [];
  }
}
