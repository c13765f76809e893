import { createPrivateKey, createSecretKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { describe, expect, it } from "vitest";
import { ALGORITHMS } from "../../../src/jwt/keys/algorithms.js";
import { JwtManager } from "../../../src/jwt/manager.js";
import { Secret } from "../../../src/core/secret.js";
import { SettingsError } from "../../../src/settings/errors.js";
import { HMAC_SECRET, KEYS, pem } from "../../jwt/support.js";
import { expectRow, Tally } from "../vectors.js";
import { OTHER_ALGORITHMS } from "./names.js";
import { publicForms } from "./public-forms.js";

const HS = ["HS256", "HS384", "HS512"];
const RSA = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
const dsa = generateKeyPairSync("dsa", { modulusLength: 2048, divisorLength: 256 }).privateKey;
const { rsa, otherRsa, weakRsa, ed25519 } = KEYS;
/** 32 bytes: enough for HS256 alone. */
const SHORT = "q7RkL0pXs5MdJf9GbU2eA8hZ3vQ8nT1w";

/** Every kind of key, in every way to give one, and the algorithms it is taken for. */
const KINDS: readonly { readonly name: string; readonly keys: object; readonly fits: readonly string[] }[] = [
  { name: "a secret of 64 bytes and more", keys: { secret: HMAC_SECRET }, fits: HS },
  { name: "a secret of 64 bytes and more, as Secret", keys: { secret: new Secret(HMAC_SECRET) }, fits: HS },
  { name: "a secret of 32 bytes", keys: { secret: SHORT }, fits: ["HS256"] },
  { name: "a secret in a ring", keys: { keys: [{ secret: HMAC_SECRET }] }, fits: HS },
  {
    name: "a short secret beside a long one in a ring",
    keys: { keys: [{ secret: HMAC_SECRET }, { secret: SHORT }] },
    fits: ["HS256"],
  },
  { name: "a secret as private key", keys: { privateKey: HMAC_SECRET }, fits: [] },
  {
    name: "a secret KeyObject as private key",
    keys: { privateKey: createSecretKey(Buffer.from(HMAC_SECRET)) },
    fits: [],
  },
  { name: "a secret KeyObject as secret", keys: { secret: createSecretKey(Buffer.from(HMAC_SECRET)) }, fits: [] },
  ...ways("RSA", rsa.privateKey, RSA),
  ...ways("RSA of 1024 bits", weakRsa.privateKey, []),
  ...ways("RSA-PSS for SHA-256", KEYS.pss("sha256").privateKey, ["PS256"]),
  ...ways("RSA-PSS for SHA-512", KEYS.pss("sha512").privateKey, ["PS512"]),
  ...ways("P-256", KEYS.ec("P-256").privateKey, ["ES256"]),
  ...ways("P-384", KEYS.ec("P-384").privateKey, ["ES384"]),
  ...ways("P-521", KEYS.ec("P-521").privateKey, ["ES512"]),
  ...ways("secp256k1", KEYS.ec("secp256k1").privateKey, []),
  ...ways("Ed25519", ed25519.privateKey, ["EdDSA"]),
  ...ways("Ed448", generateKeyPairSync("ed448").privateKey, []),
  ...ways("X25519", generateKeyPairSync("x25519").privateKey, []),
  ...ways("DSA", dsa, []),
  { name: "a public key alone", keys: { keys: [{ publicKey: rsa.publicKey }] }, fits: [] },
  { name: "a public key as private key", keys: { privateKey: rsa.publicKey }, fits: [] },
  { name: "a public PEM as private key", keys: { privateKey: pem(rsa.publicKey) }, fits: [] },
  {
    name: "a public key after a private one",
    keys: { keys: [{ privateKey: rsa.privateKey }, { publicKey: otherRsa.publicKey }] },
    fits: RSA,
  },
  {
    name: "a private key after another",
    keys: { keys: [{ privateKey: rsa.privateKey }, { privateKey: otherRsa.privateKey }] },
    fits: RSA,
  },
  {
    name: "a curve among RSA keys",
    keys: { keys: [{ privateKey: rsa.privateKey }, { publicKey: KEYS.ec("P-256").publicKey }] },
    fits: [],
  },
  {
    name: "a secret among key pairs",
    keys: { keys: [{ privateKey: rsa.privateKey }, { secret: HMAC_SECRET }] },
    fits: [],
  },
  {
    name: "a key pair among secrets",
    keys: { keys: [{ secret: HMAC_SECRET }, { publicKey: rsa.publicKey }] },
    fits: [],
  },
  { name: "a JWK as private key", keys: { privateKey: rsa.privateKey.export({ format: "jwk" }) }, fits: [] },
  {
    name: "a JWK as text as private key",
    keys: { privateKey: JSON.stringify(rsa.privateKey.export({ format: "jwk" })) },
    fits: [],
  },
  {
    name: "DER as private key",
    keys: { privateKey: rsa.privateKey.export({ format: "der", type: "pkcs8" }) },
    fits: [],
  },
  {
    name: "an encrypted PEM",
    keys: {
      privateKey: rsa.privateKey
        .export({ format: "pem", type: "pkcs8", cipher: "aes-256-cbc", passphrase: "x" })
        .toString(),
    },
    fits: [],
  },
  { name: "a key and a secret", keys: { privateKey: rsa.privateKey, secret: HMAC_SECRET }, fits: [] },
  { name: "nothing", keys: {}, fits: [] },
];

function ways(name: string, key: KeyObject, fits: readonly string[]): typeof KINDS {
  return [
    { name: `${name} as KeyObject`, keys: { privateKey: key }, fits },
    { name: `${name} as PEM`, keys: { privateKey: pem(key) }, fits },
    { name: `${name} as PEM in a Secret`, keys: { privateKey: new Secret(pem(key)) }, fits },
    { name: `${name} in a ring`, keys: { keys: [{ privateKey: createPrivateKey(pem(key)) }] }, fits },
    { name: `${name}, its private PEM as secret`, keys: { secret: pem(key) }, fits: [] },
  ];
}

function taken(settings: object): boolean {
  try {
    new JwtManager(settings);
    return true;
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    return false;
  }
}

describe("every algorithm with every kind of key, as settings", () => {
  it("each kind of key is accepted for its own algorithms, and for no other", () => {
    const tally = new Tally();
    for (const { name, keys, fits } of KINDS) {
      const verdicts = ALGORITHMS.filter((algorithm) => taken({ algorithm, ...keys }));
      expect([name, verdicts]).toEqual([name, fits]);
      for (const algorithm of ALGORITHMS) tally.count(fits.includes(algorithm) ? "accepted" : "refused");
    }
    expectRow("algorithms × keys as settings", tally);
  });

  it("no other algorithm name is accepted with any of them", () => {
    const tally = new Tally();
    for (const algorithm of [...OTHER_ALGORITHMS, "hs256", "HS256 ", "", null, 256, ["HS256"], {}]) {
      for (const { name, keys } of KINDS)
        expect([algorithm, name, taken({ algorithm, ...keys })]).toEqual([algorithm, name, false]);
      tally.count("refused");
    }
    expectRow("other algorithms as settings", tally);
  });

  it("a public key is refused as a secret in every text form except its bare numbers", () => {
    const tally = new Tally();
    // Numbers without a frame look like any secret: a modulus, a coordinate, the name of a key.
    const bare = ["kid", "modulus as text"];
    for (const key of [
      rsa.privateKey,
      KEYS.ec("P-256").privateKey,
      KEYS.ec("P-384").privateKey,
      KEYS.ec("P-521").privateKey,
    ]) {
      for (const { name, bytes } of publicForms(key, "8Jx3vQ8nT1wYc7RkL0pXs5MdJf9GbU2eA-kid")) {
        const secret = bytes.toString();
        if (!Buffer.from(secret).equals(bytes)) continue;
        expect([name, taken({ secret })]).toEqual([name, bare.includes(name)]);
        tally.count(bare.includes(name) ? "questionable" : "refused");
      }
    }
    expectRow("public keys as secrets in settings", tally);
  });
});
