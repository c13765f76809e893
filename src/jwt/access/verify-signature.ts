import type { KeyObject } from "node:crypto";
import type jwt from "jsonwebtoken";
import { loadJsonwebtoken } from "../../core/dependencies.js";
import { JSONWEBTOKEN_ALGORITHMS, type JsonwebtokenAlgorithm } from "../keys/algorithms.js";
import type { TokenErrorCode } from "../errors.js";

/**
 * Options for each algorithm, built once. jsonwebtoken does not check the times: it reads the system clock and
 * tolerates a missing or infinite `exp`; `decideClaims` is stricter.
 */
const VERIFY_OPTIONS = new Map<JsonwebtokenAlgorithm, jwt.VerifyOptions>(
  JSONWEBTOKEN_ALGORITHMS.map((algorithm) => [
    algorithm,
    { algorithms: [algorithm], ignoreExpiration: true, ignoreNotBefore: true, complete: false },
  ]),
);

export type SignatureVerdict =
  { readonly ok: true; readonly payload: unknown } | { readonly ok: false; readonly code: TokenErrorCode };

const MISMATCH: SignatureVerdict = Object.freeze({ ok: false, code: "signature" });

/** Verifies only the signature, with jsonwebtoken. Call it only after `inspectToken`. Never throws. */
export function verifySignature(token: string, key: KeyObject, algorithm: JsonwebtokenAlgorithm): SignatureVerdict {
  const { verify } = loadJsonwebtoken();
  try {
    return { ok: true, payload: verify(token, key, VERIFY_OPTIONS.get(algorithm)) };
  } catch {
    // Every error (JsonWebTokenError, a TypeError on odd payloads, an error of node:crypto) means that the signature
    // does not match.
    return MISMATCH;
  }
}
