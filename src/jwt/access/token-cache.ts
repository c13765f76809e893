import { LRUCache } from "lru-cache";

/** Characters of tokens kept for each entry, on average: a token may be eight times as long, and then fewer are kept. */
const CHARACTERS_EACH = 1024;

/**
 * Payloads of tokens whose signature matched, by the token as presented: a client sends the same one for as long as it is good,
 * and its signature does not change its mind. Nothing else is remembered: times, audience and revocation are decided anew for
 * every request, from this payload.
 *
 * The token itself is the key. A look-up compares texts only where the hash V8 makes of the whole text, with a seed of this
 * process, is the same, so time tells nobody how much of a guess was right. Tokens that are refused are not remembered:
 * a flood of them displaces nothing.
 */
export class VerifiedTokens {
  readonly #payloads: LRUCache<string, object>;

  /** @param size tokens remembered at most, at least 1; the least recently used goes first */
  constructor(size: number) {
    this.#payloads = new LRUCache({
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

  /** @param payload frozen: every request of this token will see it */
  add(token: string, payload: object): void {
    this.#payloads.set(token, payload);
  }

  delete(token: string): void {
    this.#payloads.delete(token);
  }
}

/** JSON values alone: no cycles, and no deeper than a token of 8 KB can be. */
export function deepFrozen<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  for (const inner of Object.values(value)) deepFrozen(inner);
  return Object.freeze(value);
}
