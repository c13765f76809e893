import type { KeyObject } from "node:crypto";
import jwt from "jsonwebtoken";
import { ALGORITHMS, type JwtAlgorithm } from "../keys/algorithms.js";
import type { TokenErrorCode } from "../errors.js";

/**
 * One algorithm each, made once. Times are not left to jsonwebtoken: it reads the machine's clock, tolerates a missing `exp`
 * and an infinite one; `decideClaims` is stricter.
 */
const VERIFY_OPTIONS = new Map<JwtAlgorithm, jwt.VerifyOptions>(
  ALGORITHMS.map((algorithm) => [
    algorithm,
    { algorithms: [algorithm], ignoreExpiration: true, ignoreNotBefore: true, complete: false },
  ]),
);

export type SignatureVerdict =
  { readonly ok: true; readonly payload: unknown } | { readonly ok: false; readonly code: TokenErrorCode };

const MISMATCH: SignatureVerdict = Object.freeze({ ok: false, code: "signature" });

/** The signature alone, by jsonwebtoken. Call only after `inspectToken`. Never throws. */
export function verifySignature(token: string, key: KeyObject, algorithm: JwtAlgorithm): SignatureVerdict {
  try {
    return { ok: true, payload: jwt.verify(token, key, VERIFY_OPTIONS.get(algorithm)) };
  } catch {
    // Whatever it throws (JsonWebTokenError, a TypeError on odd payloads, node:crypto's own) means the same.
    return MISMATCH;
  }
}
