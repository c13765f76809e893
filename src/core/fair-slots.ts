/** A fixed number of slots that all clients share. One client holds only a part of them. */
export class FairSlots {
  readonly #size: number;
  readonly #share: number;
  readonly #held = new Map<string, number>();
  #taken = 0;

  /**
   * @param size number of slots
   * @param share how many of them one client may hold
   */
  constructor(size: number, share: number) {
    this.#size = size;
    this.#share = share;
  }

  /** @param client called only when the answer depends on the client */
  hasRoom(client: () => string): boolean {
    if (this.#taken < this.#share) return true;
    return this.#taken < this.#size && (this.#held.get(client()) ?? 0) < this.#share;
  }

  /** Takes a slot, whether or not there is room. @returns gives it back; a second call does nothing */
  take(client: string): () => void {
    this.#add(client, 1);
    let isHeld = true;
    return () => {
      if (isHeld) this.#add(client, -1);
      isHeld = false;
    };
  }

  #add(client: string, slots: 1 | -1): void {
    this.#taken += slots;
    const held = (this.#held.get(client) ?? 0) + slots;
    if (held === 0) this.#held.delete(client);
    else this.#held.set(client, held);
  }
}
