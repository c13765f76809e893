import {
  constants,
  createHmac,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  sign as signBytes,
} from "node:crypto";
import type { JwtAlgorithm } from "../../../src/jwt/keys/algorithms.js";
import type { JwtSettings } from "../../../src/jwt/settings.js";
import { Secret } from "../../../src/core/secret.js";
import { deriveKey } from "../../../src/settings/secrets.js";
import { HMAC_SECRET, KEYS, pem, ROOT } from "../../jwt/support.js";

/** One way to set a manager up, and its own key, which the forgers below do not have. */
export interface Verifier {
  readonly name: string;
  readonly algorithm: JwtAlgorithm;
  readonly settings: JwtSettings;
  readonly key: KeyObject;
}

const OLD_SECRET = "zV5nB8mQ2wE7rT4yU1iO6pA3sD9fG0hJ-kLxCvNqWeRtYuIoPaSdFgHjKlZxCvBn-old";
const secretKey = (text: string): KeyObject => createSecretKey(Buffer.from(text));

const symmetric = (["HS256", "HS384", "HS512"] as const).flatMap((algorithm): Verifier[] => [
  {
    name: `${algorithm}, secret as text`,
    algorithm,
    settings: { algorithm, secret: HMAC_SECRET },
    key: secretKey(HMAC_SECRET),
  },
  {
    name: `${algorithm}, ring of secrets`,
    algorithm,
    settings: {
      algorithm,
      keys: [
        { kid: "new", secret: new Secret(HMAC_SECRET) },
        { kid: "old", secret: OLD_SECRET },
      ],
    },
    key: secretKey(HMAC_SECRET),
  },
]);

const derived: Verifier = {
  name: "HS256, derived from secretKey",
  algorithm: "HS256",
  settings: {},
  key: deriveKey(ROOT, "jwt"),
};

const rsa = (["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] as const).flatMap((algorithm): Verifier[] => {
  const { privateKey } = KEYS.rsa;
  return [
    { name: `${algorithm}, RSA as KeyObject`, algorithm, settings: { algorithm, privateKey }, key: privateKey },
    {
      name: `${algorithm}, RSA as PEM in a ring`,
      algorithm,
      settings: {
        algorithm,
        keys: [
          { kid: "new", privateKey: pem(privateKey) },
          { kid: "old", publicKey: pem(KEYS.otherRsa.publicKey) },
        ],
      },
      key: privateKey,
    },
  ];
});

const pss = KEYS.pss("sha256").privateKey;
const rsaPss: Verifier = {
  name: "PS256, RSA-PSS as KeyObject",
  algorithm: "PS256",
  settings: { algorithm: "PS256", privateKey: pss },
  key: pss,
};

const elliptic = (
  [
    ["ES256", "P-256"],
    ["ES384", "P-384"],
    ["ES512", "P-521"],
  ] as const
).flatMap(([algorithm, curve]): Verifier[] => {
  const { privateKey } = KEYS.ec(curve);
  return [
    { name: `${algorithm}, ${curve} as KeyObject`, algorithm, settings: { algorithm, privateKey }, key: privateKey },
    {
      name: `${algorithm}, ${curve} as PEM in a Secret`,
      algorithm,
      settings: { algorithm, privateKey: new Secret(pem(privateKey)) },
      key: privateKey,
    },
  ];
});

/** Every algorithm with every kind of key that settings take for it. */
export const VERIFIERS: readonly Verifier[] = [...symmetric, derived, ...rsa, rsaPss, ...elliptic];

/** One of each algorithm. */
export const ONE_OF_EACH: readonly Verifier[] = VERIFIERS.filter(
  ({ algorithm }, index) => VERIFIERS.findIndex((other) => other.algorithm === algorithm) === index,
);

/** One of each family, for what is looked at apart from the signature. */
export const FAMILIES: readonly Verifier[] = ONE_OF_EACH.filter(({ algorithm }) =>
  ["HS256", "RS384", "PS512", "ES256"].includes(algorithm),
);

/** One of each algorithm that has a public key, and the RSA-PSS key. */
export const KEY_PAIRS: readonly Verifier[] = [
  ...ONE_OF_EACH.filter(({ algorithm }) => !algorithm.startsWith("HS")),
  rsaPss,
];

const b64 = (value: string | Buffer): string => Buffer.from(value).toString("base64url");

/** A signature as RFC 7518 section 3 makes it, straight from node:crypto. */
export function signature(algorithm: string, input: string, key: KeyObject): Buffer {
  const hash = `sha${algorithm.slice(2)}`;
  switch (algorithm.slice(0, 2)) {
    case "HS":
      return createHmac(hash, key).update(input).digest();
    case "PS":
      return signBytes(hash, Buffer.from(input), {
        key,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      });
    case "ES":
      return signBytes(hash, Buffer.from(input), { key, dsaEncoding: "ieee-p1363" });
    default:
      return signBytes(hash, Buffer.from(input), key);
  }
}

/** A compact token from JSON as text, so that what no library would write can be signed. */
export function signed(header: string, payload: string, algorithm: string, key: KeyObject): string {
  const input = `${b64(header)}.${b64(payload)}`;
  return `${input}.${b64(signature(algorithm, input, key))}`;
}

export function unsigned(header: string, payload: string, third = ""): string {
  return `${b64(header)}.${b64(payload)}.${third}`;
}

/** A key of the same kind that an attacker made. */
export function attackersKey({ algorithm, key }: Verifier): KeyObject {
  if (key.type === "secret") return secretKey("attacker-made-this-one-himself-and-it-is-long-enough-for-any-of-them");
  if (key.asymmetricKeyType !== "ec") return KEYS.otherRsa.privateKey;
  const made =
    ELLIPTIC.get(algorithm) ??
    generateKeyPairSync("ec", { namedCurve: key.asymmetricKeyDetails?.namedCurve ?? "" }).privateKey;
  ELLIPTIC.set(algorithm, made);
  return made;
}

const ELLIPTIC = new Map<JwtAlgorithm, KeyObject>();
