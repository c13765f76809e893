import * as crypto from "node:crypto";

/** Since Node 20.12: a digest in one call, at half the cost of a `Hash` object. */
const { hash } = crypto as Partial<Pick<typeof crypto, "hash">>;

/**
 * Computes the keys under which caches of this process store a credential: SHA-256 of a random prefix and the
 * credential. Without the prefix, a key cannot be computed, so the timing of a comparison reveals nothing. The cache
 * holds no credential.
 */
export class CacheKey {
  readonly #prefix: string;

  /** @param random 32 bytes; only tests pass it */
  constructor(random: Uint8Array = crypto.randomBytes(32)) {
    this.#prefix = Buffer.from(random).toString("base64url");
  }

  /** The 32 bytes as one-byte characters. */
  digest(text: string): string {
    if (hash === undefined) return crypto.createHash("sha256").update(this.#prefix).update(text).digest("binary");
    return hash("sha256", this.#prefix + text, "binary");
  }
}
