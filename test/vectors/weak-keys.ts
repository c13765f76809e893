import { checkPrimeSync, createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";

/** The primes below 168 other than 2, by which the library of CVE-2017-15361 made its keys recognisable. */
export const PRIMES = [
  3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113,
  127, 131, 137, 139, 149, 151, 157, 163, 167,
];

const E = 65_537n;
const bytesOf = (value: bigint): Buffer =>
  Buffer.from(value.toString(16).padStart(Math.ceil(value.toString(16).length / 2) * 2, "0"), "hex");
const b64 = (value: bigint): string => bytesOf(value).toString("base64url");
const random = (bytes: number): bigint => BigInt(`0x${randomBytes(bytes).toString("hex")}`);

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (let b = base % modulus, e = exponent; e > 0n; e >>= 1n, b = (b * b) % modulus)
    if (e & 1n) result = (result * b) % modulus;
  return result;
}

/** Extended Euclid. */
function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [value % modulus, modulus, 1n, 0n];
  while (a > 1n) {
    const quotient = a / b;
    [a, b] = [b, a % b];
    [x, y] = [y, x - quotient * y];
  }
  return ((x % modulus) + modulus) % modulus;
}

/** A prime as that library made them: k·M + (65537^a mod M), M the product of small primes (Nemec and others, 2017, section 2). */
function recognisablePrime(): bigint {
  const product = PRIMES.reduce((all, prime) => all * BigInt(prime), 2n);
  for (;;) {
    const candidate = ((random(128) | (3n << 1022n)) / product) * product + power(E, random(32), product);
    if (candidate >> 1023n === 1n && candidate % E !== 1n && checkPrimeSync(candidate)) return candidate;
  }
}

function rsaKey(p: bigint, q: bigint, e: bigint): KeyObject {
  const d = inverse(e, (p - 1n) * (q - 1n));
  const numbers = { n: p * q, e, d, p, q, dp: d % (p - 1n), dq: d % (q - 1n), qi: inverse(q, p) };
  const jwk = Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, b64(value)]));
  return createPrivateKey({ key: { kty: "RSA", ...jwk }, format: "jwk" });
}

/** An RSA key of 2048 bits from which anybody can work out the private half (CVE-2017-15361, "ROCA"). */
export function rocaKey(): KeyObject {
  return rsaKey(recognisablePrime(), recognisablePrime(), E);
}

/** A sound key, but for its exponent: with 1 every message is its own signature. */
export function keyWithExponentOne(): KeyObject {
  const { p, q } = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
  const read = (part: string | undefined): bigint =>
    BigInt(`0x${Buffer.from(part ?? "", "base64url").toString("hex")}`);
  return rsaKey(read(p), read(q), 1n);
}

export function keyWithExponent(publicExponent: number): KeyObject {
  return generateKeyPairSync("rsa", { modulusLength: 2048, publicExponent }).privateKey;
}
