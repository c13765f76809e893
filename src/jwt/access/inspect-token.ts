import { MAX_CREDENTIAL_LENGTH } from "../../core/http/authorization.js";
import type { JwtAlgorithm } from "../keys/algorithms.js";
import type { TokenErrorCode } from "../errors.js";

/**
 * The JOSE header fields that are read. jku, x5u, jwk and x5c are not: keys come only from the settings (ASVS 9.1.3).
 */
export interface TokenHeader {
  readonly alg: JwtAlgorithm;
  readonly kid: string | undefined;
  readonly typ: unknown;
}

type Refused = { readonly ok: false; readonly code: TokenErrorCode };
export type Inspection = { readonly ok: true; readonly header: TokenHeader } | Refused;

/** A token of the right form, of which nothing is verified. */
export interface UnverifiedToken {
  readonly ok: true;
  /** The members of the JOSE header. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** The payload in base64url. */
  readonly payload: string;
}

const MALFORMED: Refused = Object.freeze({ ok: false, code: "malformed" });
const WRONG_ALGORITHM: Refused = Object.freeze({ ok: false, code: "algorithm" });
const CRITICAL: Refused = Object.freeze({ ok: false, code: "critical-header" });

/**
 * Three parts of the base64url alphabet. The dot is in none of the character classes, so there is only one way to match
 * and the time is linear.
 */
const COMPACT = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/;

/**
 * Checks a token before its signature: the length, the compact form of RFC 7515 section 7.1 in canonical base64url, and
 * a header that is an object, has exactly the expected algorithm and requires no extension. jsonwebtoken checks the
 * last three less strictly (auth0/node-jsonwebtoken#1032; Wycheproof JWS 375). Pure.
 *
 * The last value of a duplicate name in the JSON header counts, as in every JSON.parse (RFC 7515 section 4 allows
 * this). jsonwebtoken does the same, so both see the same header.
 */
export function inspectToken(token: unknown, algorithm: JwtAlgorithm): Inspection {
  const form = inspectForm(token);
  return form.ok ? inspectHeader(form.fields, [algorithm]) : form;
}

/** Checks the length, the compact form, the encoding, and that the header is an object. */
export function inspectForm(token: unknown): UnverifiedToken | Refused {
  if (typeof token !== "string" || token.length > MAX_CREDENTIAL_LENGTH) return MALFORMED;
  const parts = COMPACT.exec(token);
  if (parts === null) return MALFORMED;
  const [, header = "", payload = "", signature = ""] = parts;
  if (!isCanonical(header) || !isCanonical(payload) || !isCanonical(signature)) return MALFORMED;
  const fields = jsonObject(header);
  return fields === undefined ? MALFORMED : { ok: true, fields, payload };
}

/** Checks the algorithm, and that the header requires no extension. */
export function inspectHeader(
  fields: Readonly<Record<string, unknown>>,
  algorithms: readonly JwtAlgorithm[],
): Inspection {
  // Compared exactly: "none", "hs256" and 256 all differ from the expected algorithm.
  const alg = algorithms.find((algorithm) => algorithm === fields.alg);
  if (alg === undefined) return WRONG_ALGORITHM;
  // RFC 7515 section 4.1.11: crit lists extensions that must be understood, and none is supported.
  if (Object.hasOwn(fields, "crit")) return CRITICAL;
  // RFC 7797's b64 has no meaning without crit; with it the signature covers bytes other than the decoded ones.
  if (Object.hasOwn(fields, "b64")) return CRITICAL;
  const { kid, typ } = fields;
  if (kid !== undefined && typeof kid !== "string") return MALFORMED;
  return { ok: true, header: { alg, kid, typ } };
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** Valid last characters: their unused low bits (4 after two characters, 2 after three) are zero. */
const ENDS_TWO = new Set([...ALPHABET].filter((_char, value) => value % 16 === 0));
const ENDS_THREE = new Set([...ALPHABET].filter((_char, value) => value % 4 === 0));

/** RFC 4648 section 3.5: the unused bits must be zero; otherwise one token has several encodings. */
function isCanonical(part: string): boolean {
  switch (part.length % 4) {
    case 0:
      return true;
    case 2:
      return ENDS_TWO.has(part.slice(-1));
    case 3:
      return ENDS_THREE.has(part.slice(-1));
    default:
      return false;
  }
}

/** The value of one member of a payload that nothing has verified, for a look-up and nothing else. */
export function unverifiedClaim({ payload }: UnverifiedToken, name: string): unknown {
  const claims = jsonObject(payload);
  return claims !== undefined && Object.hasOwn(claims, name) ? claims[name] : undefined;
}

function jsonObject(part: string): Record<string, unknown> | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
  } catch {
    return undefined;
  }
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}
