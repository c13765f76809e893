import type { KeyObject } from "node:crypto";
import jwt from "jsonwebtoken";
import { ALGORITHMS, type JwtAlgorithm } from "../keys/algorithms.js";
import type { TokenErrorCode } from "../errors.js";
import { inspectToken, type TokenHeader } from "./inspect-token.js";

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

/** The form and the signature of a compact JWS under one key; its type and its claims are looked at elsewhere. Never throws. */
export function verifyCompact(
  token: unknown,
  key: KeyObject,
  algorithm: JwtAlgorithm,
):
  | { readonly ok: true; readonly header: TokenHeader; readonly payload: unknown }
  | { readonly ok: false; readonly code: TokenErrorCode } {
  const inspection = inspectToken(token, algorithm);
  if (!inspection.ok) return inspection;
  const signature = verifySignature(token as string, key, algorithm);
  return signature.ok ? { ok: true, header: inspection.header, payload: signature.payload } : signature;
}
