import { createPublicKey, type KeyObject } from "node:crypto";
import type { SettingsCode } from "../../settings/errors.js";
import { familyOf, hashBits, type AlgorithmFamily, type JwtAlgorithm } from "./algorithms.js";
import { rsaWeakness } from "./rsa-validation.js";

export interface KeyProblem {
  readonly code: SettingsCode;
  readonly message: string;
  readonly remedy: string;
}

/** RFC 7518 section 3.4: each ECDSA algorithm has one curve. */
const CURVES = { 256: "prime256v1", 384: "secp384r1", 512: "secp521r1" } as const;
const CURVE_NAMES = { 256: "P-256", 384: "P-384", 512: "P-521" } as const;

const KEY_TYPES: Readonly<Record<Exclude<AlgorithmFamily, "HS">, readonly string[]>> = {
  RS: ["rsa"],
  PS: ["rsa", "rsa-pss"],
  ES: ["ec"],
  Ed: ["ed25519"],
};

/** Returns why an asymmetric key does not fit the algorithm, or `undefined` when it does. */
export function keyProblem(key: KeyObject, algorithm: JwtAlgorithm): KeyProblem | undefined {
  const family = familyOf(algorithm);
  const bits = hashBits(algorithm);
  if (family === "HS") {
    return {
      code: "contradiction",
      message: `${algorithm} signs with a secret, but this is an asymmetric key.`,
      remedy: "Choose an RS, PS or ES algorithm or EdDSA, or set a secret instead of the key.",
    };
  }
  const type = key.asymmetricKeyType ?? "unknown";
  if (!KEY_TYPES[family].includes(type)) {
    return {
      code: "contradiction",
      message: `${algorithm} needs a key of type ${KEY_TYPES[family].join(" or ")}, but this key has type ${type}.`,
      remedy: "Change the algorithm, or generate a key of that type.",
    };
  }
  if (family === "Ed") return undefined;
  const details = key.asymmetricKeyDetails ?? {};
  if (family === "ES") {
    if (details.namedCurve === CURVES[bits]) return undefined;
    return {
      code: "contradiction",
      message: `${algorithm} needs a key on the curve ${CURVE_NAMES[bits]}.`,
      remedy: `Generate one with: openssl ecparam -name ${CURVES[bits]} -genkey -noout`,
    };
  }
  return rsaWeakness(key) ?? (type === "rsa-pss" ? pssProblem(key, algorithm) : undefined);
}

/** A key of type rsa-pss has its own hash and salt length, which must match the algorithm (RFC 7518 section 3.5). */
function pssProblem(key: KeyObject, algorithm: JwtAlgorithm): KeyProblem | undefined {
  const bits = hashBits(algorithm);
  const { hashAlgorithm, mgf1HashAlgorithm, saltLength } = key.asymmetricKeyDetails ?? {};
  const hash = `sha${bits}`;
  if (hashAlgorithm === hash && mgf1HashAlgorithm === hash && (saltLength === undefined || saltLength <= bits / 8))
    return undefined;
  return {
    code: "contradiction",
    message: `The RSA-PSS parameters of the key do not match ${algorithm}.`,
    remedy: `Use a plain RSA key, or an RSA-PSS key with hash ${hash}, MGF1 hash ${hash} and salt length ${bits / 8}.`,
  };
}

/**
 * Whether a text is itself an asymmetric key: as an HMAC secret it would be known to everyone with the public key
 * (CVE-2016-10555 and its successors).
 */
export function looksLikeAsymmetricKey(text: string): boolean {
  return isKeyText(text) || isEncodedKey(text, "hex") || isEncodedKey(text, "base64");
}

function isKeyText(text: string): boolean {
  return (
    text.includes("-----BEGIN") ||
    /"kty"\s{0,8}:/.test(text) ||
    /^(?:\s{0,8}|\0\0\0.)(?:ssh-(?:rsa|ed25519)|ecdsa-sha2-)/s.test(text)
  );
}

const ENCODINGS = { hex: /^[0-9A-Fa-f:\s]+$/, base64: /^[A-Za-z0-9+/_=\s-]+$/ } as const;

function isEncodedKey(text: string, encoding: keyof typeof ENCODINGS): boolean {
  if (!ENCODINGS[encoding].test(text)) return false;
  const bytes = Buffer.from(encoding === "hex" ? text.replace(/[:\s]/g, "") : text, encoding);
  // Every DER form is a SEQUENCE; one random secret in 256 has the same first byte, but none parses as a key.
  return (
    isKeyText(bytes.toString("latin1")) || (bytes[0] === 0x30 && PUBLIC_DER.some((read) => reads(() => read(bytes))))
  );
}

/** Encodings of a public key without PEM's lines, including `x5c` of a JWK. */
const PUBLIC_DER: readonly ((der: Buffer) => KeyObject)[] = [
  (der) => createPublicKey({ key: der, format: "der", type: "spki" }),
  (der) => createPublicKey({ key: der, format: "der", type: "pkcs1" }),
  // Node reads certificates here only as PEM.
  (der) =>
    createPublicKey(
      `-----BEGIN CERTIFICATE-----\n${der.toString("base64").replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`,
    ),
];

function reads(read: () => KeyObject): boolean {
  try {
    read();
    return true;
  } catch {
    return false;
  }
}
