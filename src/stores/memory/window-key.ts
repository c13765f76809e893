import { createHash, randomInt } from "node:crypto";

/** Keys longer than this, in characters, are kept as a digest. */
const MAX_KEY_LENGTH = 256;

/** New in every process: nobody outside can work out which keys share an overflow window. */
const SEED = randomInt(2 ** 32 - 1) | 0;

/** The key as the store knows it: itself, or SHA-256 of it when it is long, so that a client costs bounded memory. */
export function boundedKey(key: string): string {
  return key.length <= MAX_KEY_LENGTH ? key : `sha256:${createHash("sha256").update(key, "utf16le").digest("base64url")}`;
}

/** A seeded hash, a signed 32-bit integer. Not for signatures: it only spreads keys. */
export function spread(key: string): number {
  let hash = SEED;
  for (let i = 0; i < key.length; i += 1) {
    hash = Math.imul(hash ^ key.charCodeAt(i), 0x5bd1e995);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash ^ (hash >>> 13), 0x2c1b3c6d);
  return hash ^ (hash >>> 16);
}
