import { BoundedCache } from "../../core/bounded-cache.js";

/** Average number of characters per entry. A token may be eight times as long; then the cache holds fewer. */
const CHARACTERS_EACH = 1024;

/**
 * Payloads of tokens whose signature matched, by the presented token: a client sends the same token until it expires,
 * and the result of its signature check never changes. Nothing else is cached: times, audience and revocation are
 * checked for every request, from this payload.
 *
 * The token itself is the key. A look-up compares strings only when V8's hash of the whole string, with a seed of this
 * process, is equal, so timing does not reveal how much of a guess was right. Refused tokens are not cached: a flood of
 * them evicts no entry.
 */
export class VerifiedTokens {
  readonly #payloads: BoundedCache<object>;

  /** @param size maximum number of tokens, at least 1; the least recently used is evicted first */
  constructor(size: number) {
    this.#payloads = new BoundedCache({
      max: size,
      maxSize: size * CHARACTERS_EACH,
      sizeCalculation: (_payload, token) => token.length,
    });
  }

  get size(): number {
    return this.#payloads.size;
  }

  get(token: string): object | undefined {
    return this.#payloads.get(token);
  }

  /** @param payload frozen: all requests with this token share it */
  add(token: string, payload: object): void {
    this.#payloads.set(token, payload);
  }

  delete(token: string): void {
    this.#payloads.delete(token);
  }
}
