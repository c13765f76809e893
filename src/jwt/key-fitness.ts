import { createPublicKey, type KeyObject } from "node:crypto";
import type { SettingsCode } from "../settings/errors.js";
import { familyOf, hashBits, type AlgorithmFamily, type JwtAlgorithm } from "./algorithms.js";

export interface KeyProblem {
  readonly code: SettingsCode;
  readonly message: string;
  readonly remedy: string;
}

/** RFC 7518 section 3.4: each ECDSA algorithm has one curve. */
const CURVES = { 256: "prime256v1", 384: "secp384r1", 512: "secp521r1" } as const;
const CURVE_NAMES = { 256: "P-256", 384: "P-384", 512: "P-521" } as const;

const KEY_TYPES: Readonly<Record<Exclude<AlgorithmFamily, "HS">, readonly string[]>> = { RS: ["rsa"], PS: ["rsa", "rsa-pss"], ES: ["ec"] };

/** RFC 7518 section 3.3 (a MUST). ASVS 11.2.3 asks for 3072 for new keys. */
const MIN_RSA_BITS = 2048;

/** Why an asymmetric key does not fit the algorithm, or `undefined` when it does. */
export function keyProblem(key: KeyObject, algorithm: JwtAlgorithm): KeyProblem | undefined {
  const family = familyOf(algorithm);
  const bits = hashBits(algorithm);
  if (family === "HS") {
    return { code: "contradiction", message: `${algorithm} signs with a secret, and this is an asymmetric key.`, remedy: "Choose an RS, PS or ES algorithm, or give a secret." };
  }
  const type = key.asymmetricKeyType ?? "unknown";
  if (!KEY_TYPES[family].includes(type)) {
    return {
      code: "contradiction",
      message: `${algorithm} needs a key of type ${KEY_TYPES[family].join(" or ")}, and this is one of type ${type}.`,
      remedy: "Change the algorithm, or make a key that fits it.",
    };
  }
  const details = key.asymmetricKeyDetails ?? {};
  if (family === "ES") {
    if (details.namedCurve === CURVES[bits]) return undefined;
    return { code: "contradiction", message: `${algorithm} needs a key on the curve ${CURVE_NAMES[bits]}.`, remedy: `Make one with: openssl ecparam -name ${CURVES[bits]} -genkey -noout` };
  }
  if ((details.modulusLength ?? 0) < MIN_RSA_BITS) {
    return { code: "weak-secret", message: `The RSA key is shorter than ${MIN_RSA_BITS} bits.`, remedy: "Make one with: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072" };
  }
  return type === "rsa-pss" ? pssProblem(key, algorithm) : undefined;
}

/** A key of type rsa-pss carries its own hash and salt length, and they must be those of the algorithm (RFC 7518 section 3.5). */
function pssProblem(key: KeyObject, algorithm: JwtAlgorithm): KeyProblem | undefined {
  const bits = hashBits(algorithm);
  const { hashAlgorithm, mgf1HashAlgorithm, saltLength } = key.asymmetricKeyDetails ?? {};
  const hash = `sha${bits}`;
  if (hashAlgorithm === hash && mgf1HashAlgorithm === hash && (saltLength === undefined || saltLength <= bits / 8)) return undefined;
  return {
    code: "contradiction",
    message: `The RSA-PSS parameters of the key are not those of ${algorithm}.`,
    remedy: `Use a plain RSA key, or one made with hash and mgf1 ${hash} and salt length ${bits / 8}.`,
  };
}

/** The public half of a private key; a public key as it is. */
export function publicHalf(key: KeyObject): KeyObject {
  return key.type === "private" ? createPublicKey(key) : key;
}

/** Text that is itself a key: as an HMAC secret it would be known to everyone who has the public key (CVE-2016-10555 and its heirs). */
export function looksLikeAsymmetricKey(text: string): boolean {
  return text.includes("-----BEGIN") || /"kty"\s{0,8}:/.test(text) || /^(?:ssh-(?:rsa|ed25519)|ecdsa-sha2-)/.test(text);
}
