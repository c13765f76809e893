import { createHash, randomInt } from "node:crypto";

/** Keys longer than this, in characters, are kept as a digest. */
const MAX_KEY_LENGTH = 256;

/** New in every process: nobody outside can work out which keys share an overflow window. */
const SEED = randomInt(2 ** 32 - 1) | 0;

/** The key as the store knows it: itself, or SHA-256 of it when it is long, so that a client costs bounded memory. */
export function boundedKey(key: string): string {
  return key.length <= MAX_KEY_LENGTH
    ? key
    : `sha256:${createHash("sha256").update(key, "utf16le").digest("base64url")}`;
}

/** A seeded hash, a signed 32-bit integer. Not for signatures: it only spreads keys. */
export function spread(key: string): number {
  let hash = SEED;
  for (let i = 0; i < key.length; i += 1) hash = mixed(hash, key.charCodeAt(i));
  return finished(hash);
}

/** `spread` of the text whose characters are these bytes, without making it: a sweep asks for thousands at a time. */
export function spreadBytes(bytes: Uint8Array, from: number, to: number): number {
  let hash = SEED;
  for (let i = from; i < to; i += 1) hash = mixed(hash, bytes[i]!);
  return finished(hash);
}

function mixed(hash: number, code: number): number {
  const product = Math.imul(hash ^ code, 0x5bd1e995);
  return product ^ (product >>> 15);
}

function finished(hash: number): number {
  const product = Math.imul(hash ^ (hash >>> 13), 0x2c1b3c6d);
  return product ^ (product >>> 16);
}
