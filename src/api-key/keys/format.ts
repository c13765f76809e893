import { randomBytes } from "node:crypto";
import { crc32 } from "./checksum.js";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const IN_ALPHABET = new Uint8Array(128);
for (let i = 0; i < ALPHABET.length; i += 1) IN_ALPHABET[ALPHABET.charCodeAt(i)] = 1;

/** Characters of the public id: 71 bits, which makes collisions practically impossible. */
export const ID_LENGTH = 12;
/** Characters of the checksum: 62^6 is the first power of 62 beyond 2^32. */
const CHECKSUM_LENGTH = 6;
/** 19 base62 characters hold 113 bits: more than the 112 that ASVS 6.5.2 requires for a plain hash. */
export const MIN_SECRET_LENGTH = 19;
export const MAX_SECRET_LENGTH = 128;

/** Returns uniform base62 text: bytes of 248 and above are discarded, so that all characters are equally likely. */
export function randomBase62(length: number): string {
  let text = "";
  while (text.length < length) {
    for (const byte of randomBytes(length + 16)) {
      if (byte >= 248) continue;
      text += ALPHABET[byte % 62];
      if (text.length === length) break;
    }
  }
  return text;
}

/**
 * Returns six base62 characters of the CRC-32 of everything before them. Not a security control: it rejects malformed
 * keys cheaply.
 */
export function checksum(body: string): string {
  let rest = crc32(body);
  let text = "";
  for (let i = 0; i < CHECKSUM_LENGTH; i += 1) {
    text = (ALPHABET[rest % 62] ?? "0") + text;
    rest = Math.floor(rest / 62);
  }
  return text;
}

/**
 * Whether the text from `end` on is the `checksum` of the text before it. Compares digit by digit, without building the
 * checksum.
 */
function hasChecksum(key: string, end: number): boolean {
  let rest = crc32(key.slice(0, end));
  for (let at = key.length - 1; at >= end; at -= 1) {
    if (key.charCodeAt(at) !== ALPHABET.charCodeAt(rest % 62)) return false;
    rest = Math.floor(rest / 62);
  }
  return true;
}

/** A new key, `<prefix><id><secret><checksum>`, and its public id. */
export function generateKey(prefix: string, secretLength: number): { readonly key: string; readonly id: string } {
  const id = randomBase62(ID_LENGTH);
  const body = prefix + id + randomBase62(secretLength);
  return { key: body + checksum(body), id };
}

/** Whether the text has the form of a key id; other text is rejected without a store call. */
export function isKeyId(text: string): boolean {
  return text.length === ID_LENGTH && isBase62(text, 0);
}

/**
 * Returns the public id of a key in our format, or `undefined` for other text. The prefix may contain underscores, so
 * the text is not split at underscores: the id follows the prefix, the checksum is at the end, and the secret may have
 * any length that keys were ever created with.
 */
export function keyIdOf(key: string, prefix: string): string | undefined {
  const secretLength = key.length - prefix.length - ID_LENGTH - CHECKSUM_LENGTH;
  if (secretLength < MIN_SECRET_LENGTH || secretLength > MAX_SECRET_LENGTH) return undefined;
  if (!key.startsWith(prefix) || !isBase62(key, prefix.length)) return undefined;
  const end = key.length - CHECKSUM_LENGTH;
  if (!hasChecksum(key, end)) return undefined;
  return key.slice(prefix.length, prefix.length + ID_LENGTH);
}

function isBase62(text: string, from: number): boolean {
  for (let i = from; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code > 127 || IN_ALPHABET[code] !== 1) return false;
  }
  return true;
}
