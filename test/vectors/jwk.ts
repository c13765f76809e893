import { createPrivateKey, createPublicKey, createSecretKey, type JsonWebKey, type KeyObject } from "node:crypto";
import { JSONWEBTOKEN_ALGORITHMS as ALGORITHMS, type JsonwebtokenAlgorithm } from "../../src/jwt/keys/algorithms.js";

/** A JWK as the vectors write it (RFC 7517 section 4). */
export type Jwk = JsonWebKey & { kid?: string; alg?: string; use?: string };

/** What verifies: the secret, or the public half. Of a key pair only the public numbers are looked at. */
export function verifyingKey({ kty, k, n, e, crv, x, y }: Jwk): KeyObject {
  return kty === "oct"
    ? createSecretKey(Buffer.from(String(k), "base64url"))
    : createPublicKey({ key: { kty, n, e, crv, x, y }, format: "jwk" });
}

export function privateKey(jwk: Jwk): KeyObject {
  return createPrivateKey({ key: jwk, format: "jwk" });
}

export function algorithmNamed(name: unknown): JsonwebtokenAlgorithm | undefined {
  return ALGORITHMS.find((algorithm) => algorithm === name);
}

export interface NamedHeader {
  readonly alg?: string;
  readonly kid?: string;
}

/** The header of a compact token, as far as it is one. */
export function headerOf(token: string): NamedHeader {
  return JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()) as NamedHeader;
}
