import type { KeyRing } from "./key-ring.js";
import { publicJwk, type PublicJwk } from "./key-ids.js";

/** One public key of RFC 7517, with what a verifier needs to choose it. */
export type Jwk = PublicJwk & { readonly kid: string; readonly alg: string; readonly use: "sig" };

/** RFC 7517 section 5. */
export interface JwkSet {
  readonly keys: readonly Jwk[];
}

/** Every public key of the ring, those kept only to verify included; empty for HMAC. */
export function jwkSet(ring: KeyRing): JwkSet {
  return {
    keys: ring.publicKeys().map(({ kid, key }) => ({ ...publicJwk(key), kid, alg: ring.algorithm, use: "sig" })),
  };
}
