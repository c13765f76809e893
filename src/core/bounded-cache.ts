import { LRUCache } from "lru-cache";

/**
 * An LRU cache by text. It allocates its memory at the first entry; `LRUCache` allocates that of all entries when it is
 * made, which costs the start of an app more than everything else about a cache.
 */
export class BoundedCache<Value extends object | string | number | true> {
  readonly #options: LRUCache.Options<string, Value, unknown>;
  #entries: LRUCache<string, Value> | undefined;

  constructor(options: LRUCache.Options<string, Value, unknown>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries?.size ?? 0;
  }

  get(key: string): Value | undefined {
    return this.#entries?.get(key);
  }

  /** The value, without counting as a use of it. */
  peek(key: string): Value | undefined {
    return this.#entries?.peek(key);
  }

  has(key: string): boolean {
    return this.#entries?.has(key) === true;
  }

  /** @param options `ttl`: the life of this entry, in milliseconds, in place of that of the cache */
  set(key: string, value: Value, options?: { readonly ttl: number }): void {
    (this.#entries ??= new LRUCache(this.#options)).set(key, value, options);
  }

  delete(key: string): boolean {
    return this.#entries?.delete(key) === true;
  }

  clear(): void {
    this.#entries?.clear();
  }
}
