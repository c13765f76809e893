import { createHash, createHmac, createPublicKey, type KeyObject } from "node:crypto";

/** The public parameters of a key, in the form of RFC 7517. */
export type PublicJwk =
  | { readonly kty: "RSA"; readonly n: string; readonly e: string }
  | { readonly kty: "EC"; readonly crv: string; readonly x: string; readonly y: string }
  | { readonly kty: "OKP"; readonly crv: string; readonly x: string };

/**
 * Returns the default id of a key: for a key pair the thumbprint of RFC 7638, for a secret 96 bits of an HMAC under it,
 * which reveal no more than any token signed with it.
 */
export function derivedKid(key: KeyObject): string {
  if (key.type === "secret")
    return createHmac("sha256", key).update("portcullis/v1/kid").digest("base64url").slice(0, 16);
  const jwk = publicJwk(key);
  return createHash("sha256")
    .update(JSON.stringify(requiredMembers(jwk)))
    .digest("base64url");
}

/** RFC 7638 section 3.2, RFC 8037 section 2: only the required members, in lexicographic order. */
function requiredMembers(jwk: PublicJwk): object {
  switch (jwk.kty) {
    case "RSA":
      return { e: jwk.e, kty: jwk.kty, n: jwk.n };
    case "EC":
      return { crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y };
    case "OKP":
      return { crv: jwk.crv, kty: jwk.kty, x: jwk.x };
  }
}

/** Returns the public half of a private key; returns a public key unchanged. */
export function publicHalf(key: KeyObject): KeyObject {
  return key.type === "private" ? createPublicKey(key) : key;
}

/** Returns the public half as a JWK without metadata. */
export function publicJwk(key: KeyObject): PublicJwk {
  const half = publicHalf(key);
  const plain = half.asymmetricKeyType === "rsa-pss" ? withoutPssParameters(half) : half;
  const { kty, n, e, crv, x, y } = plain.export({ format: "jwk" });
  if (kty === "RSA" && n !== undefined && e !== undefined) return { kty, n, e };
  if (kty === "EC" && crv !== undefined && x !== undefined && y !== undefined) return { kty, crv, x, y };
  if (kty === "OKP" && crv !== undefined && x !== undefined) return { kty, crv, x };
  throw new TypeError("This type of key cannot be published as a JWK.");
}

/**
 * Removes the PSS parameters, because Node exports no JWK of an rsa-pss key. Its SubjectPublicKeyInfo (RFC 5280 section
 * 4.1) ends in a BIT STRING with the same RSAPublicKey (RFC 8017 appendix A.1.1) as a plain RSA key.
 */
function withoutPssParameters(key: KeyObject): KeyObject {
  const spki = key.export({ format: "der", type: "spki" });
  const outer = derContent(spki, 0);
  const algorithm = derContent(spki, outer.start);
  const bits = derContent(spki, algorithm.end);
  // The first byte of a BIT STRING counts its unused bits; here it is 0.
  return createPublicKey({ key: spki.subarray(bits.start + 1, bits.end), format: "der", type: "pkcs1" });
}

/**
 * Returns where the content of the DER element at `at` begins and ends. The input is Node's own output, so it is well
 * formed.
 */
function derContent(der: Buffer, at: number): { start: number; end: number } {
  const first = der.readUInt8(at + 1);
  if (first < 0x80) return { start: at + 2, end: at + 2 + first };
  const width = first & 0x7f;
  const start = at + 2 + width;
  return { start, end: start + der.readUIntBE(at + 2, width) };
}
