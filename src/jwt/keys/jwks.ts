import type { KeyRing } from "./key-ring.js";
import { publicJwk, type PublicJwk } from "./key-ids.js";

/** One public key of RFC 7517, with the fields by which a verifier selects it. */
export type Jwk = PublicJwk & { readonly kid: string; readonly alg: string; readonly use: "sig" };

/** RFC 7517 section 5. */
export interface JwkSet {
  /** The public keys. */
  readonly keys: readonly Jwk[];
}

/** Returns every public key of the ring, including those that only verify; empty for HMAC. */
export function jwkSet(ring: KeyRing): JwkSet {
  return {
    keys: ring.publicKeys().map(({ kid, key }) => ({ ...publicJwk(key), kid, alg: ring.algorithm, use: "sig" })),
  };
}
