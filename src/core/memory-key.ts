import * as crypto from "node:crypto";

/** Bytes of a block of SHA-256, and of its digest. */
const BLOCK = 64;
const DIGEST = 32;

/** Since Node 20.12: a digest in one call. A `Hmac` object costs more than the two digests it makes, and the collector once more. */
const { hash } = crypto as Partial<Pick<typeof crypto, "hash">>;

/**
 * HMAC-SHA-256 under a random key of this process: what a look-up in memory has in place of a credential. Nobody outside
 * can work it out, so comparing it tells a caller nothing through time, and a dump of the memory has no credential in it.
 */
export class MemoryKey {
  readonly #inner: string;
  /** The outer block, and behind it room for the inner digest. */
  readonly #outer = Buffer.alloc(BLOCK + DIGEST);
  readonly #key: crypto.KeyObject;

  /** @param random 64 bytes, of which 448 bits count; given by tests alone */
  constructor(random: Uint8Array = crypto.randomBytes(BLOCK)) {
    // A block of 7-bit bytes stays that when padded (RFC 2104 section 2: 0x36, 0x5c), so it is the same in a text as in UTF-8.
    const block = random.map((byte) => byte & 0x7f);
    this.#key = crypto.createSecretKey(block);
    this.#inner = Buffer.from(block.map((byte) => byte ^ 0x36)).toString("latin1");
    this.#outer.set(block.map((byte) => byte ^ 0x5c));
  }

  /** The 32 bytes as one-byte characters. */
  of(text: string): string {
    if (hash === undefined) return crypto.createHmac("sha256", this.#key).update(text).digest("binary");
    this.#outer.write(hash("sha256", this.#inner + text, "binary"), BLOCK, "latin1");
    return hash("sha256", this.#outer, "binary");
  }
}
