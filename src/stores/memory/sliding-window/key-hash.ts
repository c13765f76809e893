import { createHash, randomInt } from "node:crypto";

/** Keys longer than this, in characters, are stored as a digest. */
const MAX_KEY_LENGTH = 256;

/** New in every process, so that clients cannot work out which keys share an overflow window. */
const SEED = randomInt(2 ** 32 - 1) | 0;

/** The key as stored: unchanged, or its SHA-256 when it is long, so that a client costs bounded memory. */
export function boundedKey(key: string): string {
  return key.length <= MAX_KEY_LENGTH
    ? key
    : `sha256:${createHash("sha256").update(key, "utf16le").digest("base64url")}`;
}

/** A seeded hash, a signed 32-bit integer. It distributes keys and is not cryptographic. */
export function hashKey(key: string): number {
  let hash = SEED;
  for (let i = 0; i < key.length; i += 1) hash = mix(hash, key.charCodeAt(i));
  return finalize(hash);
}

/**
 * `hashKey` of the string with these characters, one per byte, without creating it: a sweep needs thousands at a time.
 */
export function spreadBytes(bytes: Uint8Array, from: number, to: number): number {
  let hash = SEED;
  for (let i = from; i < to; i += 1) hash = mix(hash, bytes[i]!);
  return finalize(hash);
}

function mix(hash: number, code: number): number {
  const product = Math.imul(hash ^ code, 0x5bd1e995);
  return product ^ (product >>> 15);
}

function finalize(hash: number): number {
  const product = Math.imul(hash ^ (hash >>> 13), 0x2c1b3c6d);
  return product ^ (product >>> 16);
}
