import type { KeyObject } from "node:crypto";
import { inspectToken, type TokenHeader } from "../../src/jwt/access/inspect-token.js";
import { verifySignature } from "../../src/jwt/access/verify-signature.js";
import type { TokenErrorCode } from "../../src/jwt/errors.js";
import type { JsonwebtokenAlgorithm } from "../../src/jwt/keys/algorithms.js";

/** The form and the signature of a compact JWS under one key; its type and its claims are looked at elsewhere. Never throws. */
export function verifyCompact(
  token: unknown,
  key: KeyObject,
  algorithm: JsonwebtokenAlgorithm,
):
  | { readonly ok: true; readonly header: TokenHeader; readonly payload: unknown }
  | { readonly ok: false; readonly code: TokenErrorCode } {
  const inspection = inspectToken(token, algorithm);
  if (!inspection.ok) return inspection;
  const signature = verifySignature(token as string, key, algorithm);
  return signature.ok ? { ok: true, header: inspection.header, payload: signature.payload } : signature;
}
