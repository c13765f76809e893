/** RFC 4648 section 6, without padding: as authenticator apps take a secret. */
const RFC4648 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/** Crockford's letters: none looks like a digit, and I, L and O are read as 1, 1 and 0. */
const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** The secret as an authenticator app takes it. */
export function base32(bytes: Buffer): string {
  return encoded(bytes, RFC4648);
}

/** Crockford's base32, for codes that people write down and type. */
export function crockford(bytes: Buffer): string {
  return encoded(bytes, CROCKFORD);
}

/** The one spelling of a code as it was typed: spaces, hyphens and case count for nothing, and look-alikes are one. */
export function crockfordSpelling(typed: string): string {
  return typed.replace(/[\s-]/g, "").toUpperCase().replace(/[IL]/g, "1").replace(/O/g, "0");
}

function encoded(bytes: Buffer, alphabet: string): string {
  let text = "";
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += alphabet.charAt((value >>> bits) & 31);
    }
    value &= (1 << bits) - 1;
  }
  return bits === 0 ? text : text + alphabet.charAt((value << (5 - bits)) & 31);
}
