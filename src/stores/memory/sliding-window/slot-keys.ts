import { detachString } from "../../../core/detach-string.js";
import { hashKey, spreadBytes } from "./key-hash.js";
import { KEY, KEY_BYTES, type Slots } from "./slots.js";
import type { OverflowWindow } from "./policies.js";

const PAGE_SLOTS = 4096;
const PAGE_SHIFT = 12;
const PAGE_MASK = PAGE_SLOTS - 1;

/**
 * Longest key that fits into a slot, after a byte that is its length plus one, or `ELSEWHERE`. Every IPv4 address fits.
 */
const MAX_SHORT = KEY_BYTES - 1;
const ELSEWHERE = 0;

/** The owner of a slot's log: a client, by its key, or an overflow window. */
type Holder = string | OverflowWindow;

/**
 * The owners of all slots. A key of up to fifteen characters, each of one byte, is stored in the slot itself: a
 * separate string costs two more memory accesses and 40 bytes. The others are in pages: one array of a million of them
 * stops the process for 6 ms each time it grows.
 */
export class SlotKeys {
  readonly #slots: Slots;
  #pages: (Holder | undefined)[][] = [];

  constructor(slots: Slots) {
    this.#slots = slots;
  }

  /** Whether the slot belongs to that client. */
  isClient(slot: number, key: string): boolean {
    const { bytes } = this.#slots.page(slot);
    const at = this.#at(slot);
    if (bytes[at] === ELSEWHERE) return this.#elsewhere(slot) === key;
    if (bytes[at] !== key.length + 1) return false;
    for (let i = 0; i < key.length; i += 1) if (bytes[at + 1 + i] !== key.charCodeAt(i)) return false;
    return true;
  }

  /** The overflow window that the slot belongs to; `undefined` when it is a client's. */
  shared(slot: number): OverflowWindow | undefined {
    if (this.#slots.page(slot).bytes[this.#at(slot)] !== ELSEWHERE) return undefined;
    const holder = this.#elsewhere(slot);
    return typeof holder === "string" ? undefined : holder;
  }

  /** `hashKey` of the key of the client that the slot belongs to. */
  hash(slot: number): number {
    const { bytes } = this.#slots.page(slot);
    const at = this.#at(slot);
    return bytes[at] === ELSEWHERE
      ? hashKey(this.#elsewhere(slot) as string)
      : spreadBytes(bytes, at + 1, at + bytes[at]!);
  }

  setClient(slot: number, key: string): void {
    if (!this.#setShort(slot, key)) this.#setElsewhere(slot, detachString(key));
  }

  setShared(slot: number, shared: OverflowWindow): void {
    this.#setElsewhere(slot, shared);
  }

  /** Removes the owner of a freed slot, so that its object can be collected. */
  remove(slot: number): void {
    if (this.#slots.page(slot).bytes[this.#at(slot)] === ELSEWHERE) this.#setElsewhere(slot, undefined);
  }

  clear(): void {
    this.#pages = [];
  }

  #at(slot: number): number {
    return 4 * this.#slots.at(slot) + KEY;
  }

  /** @returns false when the key does not fit into a slot */
  #setShort(slot: number, key: string): boolean {
    if (key.length > MAX_SHORT) return false;
    const { bytes } = this.#slots.page(slot);
    const at = this.#at(slot);
    for (let i = 0; i < key.length; i += 1) {
      const code = key.charCodeAt(i);
      if (code > 0xff) return false;
      bytes[at + 1 + i] = code;
    }
    bytes[at] = key.length + 1;
    return true;
  }

  #elsewhere(slot: number): Holder | undefined {
    return this.#pages[slot >>> PAGE_SHIFT]?.[slot & PAGE_MASK];
  }

  #setElsewhere(slot: number, holder: Holder | undefined): void {
    this.#slots.page(slot).bytes[this.#at(slot)] = ELSEWHERE;
    // Created at full length: out-of-order entries would turn a growing array into a dictionary.
    (this.#pages[slot >>> PAGE_SHIFT] ??= new Array<Holder | undefined>(PAGE_SLOTS))[slot & PAGE_MASK] = holder;
  }
}
