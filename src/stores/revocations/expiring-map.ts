/** Entries checked on each write: more than one, so that expired entries are removed faster than new ones are added. */
const SWEPT_PER_WRITE = 4;

/**
 * A map whose entries expire. Each write checks a few, and `deleteExpired` checks all, so the size follows the number
 * of live entries.
 */
export class ExpiringMap<V extends { readonly until: number }> {
  readonly #entries = new Map<string, V>();
  #cursor: MapIterator<[string, V]> | undefined;

  get(key: string): V | undefined {
    return this.#entries.get(key);
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  set(key: string, value: V, now: number): void {
    this.#entries.set(key, value);
    for (let step = 0; step < SWEPT_PER_WRITE; step += 1) {
      this.#cursor ??= this.#entries.entries();
      const next = this.#cursor.next();
      if (next.done === true) {
        this.#cursor = undefined;
        return;
      }
      if (next.value[1].until < now) this.#entries.delete(next.value[0]);
    }
  }

  entries(): MapIterator<[string, V]> {
    return this.#entries.entries();
  }

  deleteExpired(now: number): number {
    const before = this.#entries.size;
    for (const [key, value] of this.#entries) if (value.until < now) this.#entries.delete(key);
    return before - this.#entries.size;
  }
}
