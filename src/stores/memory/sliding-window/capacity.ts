/**
 * The kinds of windows: a client's own, and those that clients share when there is no room, from the finest to the
 * coarsest.
 */
export const OWN = 0;
/** One key that is an address or a prefix. */
export const ADDRESS = 1;
/** IPv4 /24, IPv6 /48. */
export const NARROW = 2;
/** IPv4 /16, IPv6 /32. */
export const WIDE = 3;
/** Keys with the same hash bucket. */
export const HASHED = 4;

/** Every limit may use this part of each kind, however many the others use: a tenth. */
const LEAST_PART = 10;

/**
 * How many windows of each kind the limits that share this room may open. A limit may use what the others leave free,
 * and is guaranteed a tenth.
 */
export class WindowRoom {
  readonly #capacity: readonly number[];
  readonly #open = [0, 0, 0, 0, 0];

  constructor(maxClients: number) {
    this.#capacity = [
      maxClients,
      Math.floor(maxClients / 8),
      Math.floor(maxClients / 4),
      Math.floor(maxClients / 8),
      Infinity,
    ];
  }

  /** How many more windows of a kind a limit may open that has `held` of them. */
  free(kind: number, held: number): number {
    const capacity = this.#capacity[kind]!;
    return Math.max(capacity - this.#open[kind]!, Math.floor(capacity / LEAST_PART) - held);
  }

  add(kind: number, count: number): void {
    this.#open[kind]! += count;
  }

  clear(): void {
    this.#open.fill(0);
  }
}
