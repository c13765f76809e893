import * as crypto from "node:crypto";

/** Since Node 20.12: a digest in one call, at half the cost of a `Hash` object. */
const { hash } = crypto as Partial<Pick<typeof crypto, "hash">>;

/**
 * Makes the keys under which caches of this process know a credential: SHA-256 of a random prefix and the credential. Without the
 * prefix nobody can work the key out, so comparing it tells a caller nothing through time, and the cache holds no credential.
 */
export class CacheKey {
  readonly #prefix: string;

  /** @param random 32 bytes; given by tests alone */
  constructor(random: Uint8Array = crypto.randomBytes(32)) {
    this.#prefix = Buffer.from(random).toString("base64url");
  }

  /** The 32 bytes as one-byte characters. */
  digest(text: string): string {
    if (hash === undefined) return crypto.createHash("sha256").update(this.#prefix).update(text).digest("binary");
    return hash("sha256", this.#prefix + text, "binary");
  }
}
