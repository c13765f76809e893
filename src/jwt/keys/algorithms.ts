/** The signature algorithms that jsonwebtoken implements: those of RFC 7518 section 3.1 without `none`. */
export const JSONWEBTOKEN_ALGORITHMS = [
  "HS256",
  "HS384",
  "HS512",
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
] as const;

/** All signature algorithms: also EdDSA with Ed25519 (RFC 8037 section 3.1), which jose implements. */
export const ALGORITHMS = [...JSONWEBTOKEN_ALGORITHMS, "EdDSA"] as const;

export type JsonwebtokenAlgorithm = (typeof JSONWEBTOKEN_ALGORITHMS)[number];
export type JwtAlgorithm = (typeof ALGORITHMS)[number];

/** HMAC, RSA PKCS #1 v1.5, RSA-PSS, ECDSA, EdDSA. A manager has one algorithm, and therefore one family. */
export type AlgorithmFamily = "HS" | "RS" | "PS" | "ES" | "Ed";

export function familyOf(algorithm: JwtAlgorithm): AlgorithmFamily {
  return algorithm.slice(0, 2) as AlgorithmFamily;
}

/** Bits of the SHA-2 hash that the algorithm uses; EdDSA has one hash, and so no number. */
export function hashBits(algorithm: JwtAlgorithm): 256 | 384 | 512 {
  return Number(algorithm.slice(2)) as 256 | 384 | 512;
}
