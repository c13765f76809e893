import type { KeyObject } from "node:crypto";
import { publicJwk } from "./key-ids.js";

/** RFC 7518 section 3.3 (a MUST). ASVS 11.2.3 asks for 3072 for new keys. */
const MIN_RSA_BITS = 2048;

/**
 * FIPS 186-5 appendix A.1.1. With 1 every message is its own signature; with exponents below 3 signatures have been
 * forged repeatedly.
 */
const MIN_EXPONENT = 65_537;

const REMEDY = "Generate one with: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072";

/** Returns why an RSA key is too weak to sign with, for any algorithm, or `undefined` when no weakness is found. */
export function rsaWeakness(
  key: KeyObject,
): { readonly code: "weak-secret"; readonly message: string; readonly remedy: string } | undefined {
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  if (modulusLength < MIN_RSA_BITS)
    return { code: "weak-secret", message: `The RSA key is shorter than ${MIN_RSA_BITS} bits.`, remedy: REMEDY };
  if (publicExponent < MIN_EXPONENT)
    return {
      code: "weak-secret",
      message: `The public exponent of the RSA key is less than ${MIN_EXPONENT}.`,
      remedy: REMEDY,
    };
  if (!isRecognisable(key)) return undefined;
  return {
    code: "weak-secret",
    message:
      "The private key can be computed from the public key: a flawed generator made this RSA key (CVE-2017-15361).",
    remedy: REMEDY,
  };
}

/** The small primes on which the factors of such a key are based. */
const PRIMES = [
  3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113,
  127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/**
 * Nemec and others, "The Return of Coppersmith's Attack" (2017), section 4: some smart cards and TPMs generated primes
 * that are powers of 65537 modulo each of the small primes, and so is their product. One sound key in 2^27 matches by
 * chance.
 */
function isRecognisable(key: KeyObject): boolean {
  const jwk = publicJwk(key);
  if (jwk.kty !== "RSA") return false;
  const modulus = BigInt(`0x${Buffer.from(jwk.n, "base64url").toString("hex")}`);
  return PRIMES.every((prime) => isPowerOf65537(Number(modulus % BigInt(prime)), prime));
}

function isPowerOf65537(residue: number, prime: number): boolean {
  let power = 1;
  do {
    if (power === residue) return true;
    power = (power * 65_537) % prime;
  } while (power !== 1);
  return false;
}
