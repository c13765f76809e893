import type { KeyObject } from "node:crypto";
import { CompactSign, compactVerify } from "jose";
import type { JwtAlgorithm } from "../keys/algorithms.js";
import type { SignatureVerdict } from "./verify-signature.js";

const MISMATCH: SignatureVerdict = Object.freeze({ ok: false, code: "signature" });

/**
 * Verifies only the signature, with jose, on a thread of Node's pool. Call it only after `inspectToken`. Never rejects.
 *
 * @param key a public key that fits the algorithm
 */
export async function verifyWithJose(
  token: string,
  key: KeyObject,
  algorithm: JwtAlgorithm,
): Promise<SignatureVerdict> {
  try {
    const { payload } = await compactVerify(token, key, { algorithms: [algorithm] });
    return { ok: true, payload: JSON.parse(Buffer.from(payload).toString("utf8")) };
  } catch {
    // Every error (of jose, of WebCrypto, of JSON.parse on what the issuer signed) means that this is not a token.
    return MISMATCH;
  }
}

/** Signs claims, with jose. */
export async function signWithJose(
  claims: object,
  header: { readonly alg: string; readonly typ: string; readonly kid: string },
  key: KeyObject,
): Promise<string> {
  return new CompactSign(new TextEncoder().encode(JSON.stringify(claims))).setProtectedHeader({ ...header }).sign(key);
}
