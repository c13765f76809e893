/** The kinds of windows: a client's own, and those that clients share while there is no room, from the finest to the coarsest. */
export const OWN = 0;
/** One key that is an address or a prefix. */
export const ADDRESS = 1;
/** IPv4 /24, IPv6 /48. */
export const NARROW = 2;
/** IPv4 /16, IPv6 /32. */
export const WIDE = 3;
/** Keys whose hashes meet. */
export const HASHED = 4;

/** Every limit may have this part of each kind, however many the others have: a tenth. */
const LEAST_PART = 10;

/**
 * How many windows of each kind the limits of a room may have open. What one limit does not use another may, and each is
 * sure of a tenth.
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

  /** How many more windows of a kind may be opened by a limit that has `held` of them. */
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
