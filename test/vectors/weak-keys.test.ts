import { spawnSync } from "node:child_process";
import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { describe, expect, it } from "vitest";
import { JwtManager } from "../../src/jwt/manager.js";
import type { JwtSettings } from "../../src/jwt/settings.js";
import { SettingsError } from "../../src/settings/errors.js";
import { KEYS } from "../jwt/support.js";
import { keyWithExponent, keyWithExponentOne, PRIMES, rocaKey } from "./weak-keys.js";

function issuesOf(settings: JwtSettings): string[] {
  try {
    new JwtManager(settings);
    return [];
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    return error.issues.map(({ code, path, message }) => `${code} ${path}: ${message}`);
  }
}

const ROCA =
  "weak-secret privateKey: The private key can be computed from the public key: a flawed generator made this RSA key (CVE-2017-15361).";
const EXPONENT = "weak-secret privateKey: The public exponent of the RSA key is less than 65537.";
const AS_SECRET =
  "contradiction secret: The secret is the text of an asymmetric key: anyone with the public key could forge tokens.";
const pss = (publicExponent: number): KeyObject =>
  generateKeyPairSync("rsa-pss", {
    modulusLength: 2048,
    publicExponent,
    hashAlgorithm: "sha256",
    mgf1HashAlgorithm: "sha256",
  }).privateKey;

describe("RSA keys whose signatures prove nothing", () => {
  it.each([
    { name: "a key of CVE-2017-15361", key: rocaKey, issue: ROCA },
    { name: "an exponent of 1", key: keyWithExponentOne, issue: EXPONENT },
    { name: "an exponent of 3 (FIPS 186-5 appendix A.1.1)", key: () => keyWithExponent(3), issue: EXPONENT },
  ])("$name is refused for RS256 and PS256", ({ key, issue }) => {
    const weak = key();
    for (const algorithm of ["RS256", "PS256"] as const)
      expect(issuesOf({ algorithm, privateKey: weak })).toEqual([issue]);
  });

  it("a key of type rsa-pss, and one that only verifies, are refused too", () => {
    expect(issuesOf({ algorithm: "PS256", privateKey: pss(3) })).toEqual([EXPONENT]);
    expect(issuesOf({ algorithm: "PS256", privateKey: pss(65_537) })).toEqual([]);
    const settings = {
      algorithm: "RS256",
      keys: [{ privateKey: KEYS.rsa.privateKey }, { kid: "old", publicKey: createPublicKey(rocaKey()) }],
    } as const;
    expect(issuesOf({ ...settings, keys: [...settings.keys] })).toEqual([
      ROCA.replace("privateKey", "keys[1].publicKey"),
    ]);
  });

  it("sound keys are accepted: one in 134 million would look like a weak one", () => {
    for (let round = 0; round < 5; round += 1)
      expect(issuesOf({ algorithm: "RS256", privateKey: keyWithExponent(65_537) })).toEqual([]);
    expect(PRIMES).toHaveLength(38);
  });
});

describe("a public key as HMAC secret", () => {
  const { publicKey } = KEYS.rsa;
  const der = (type: "spki" | "pkcs1", key = publicKey): Buffer => key.export({ format: "der", type: type as "spki" });
  const jwk = publicKey.export({ format: "jwk" });

  it.each([
    ["SPKI PEM", publicKey.export({ format: "pem", type: "spki" }).toString()],
    ["SPKI PEM with CR LF", publicKey.export({ format: "pem", type: "spki" }).toString().replaceAll("\n", "\r\n")],
    [
      "SPKI PEM with its line feeds written out, as in an environment variable",
      publicKey.export({ format: "pem", type: "spki" }).toString().replaceAll("\n", "\\n"),
    ],
    ["PKCS #1 PEM", publicKey.export({ format: "pem", type: "pkcs1" }).toString()],
    ["a JWK", JSON.stringify(jwk)],
    ["a JWK set with white space", JSON.stringify({ keys: [jwk] }, null, 2)],
    ["SPKI DER in base64", der("spki").toString("base64")],
    ["SPKI DER in base64url", der("spki").toString("base64url")],
    [
      "SPKI DER in base64, in lines",
      publicKey
        .export({ format: "pem", type: "spki" })
        .toString()
        .replace(/-----.*-----\n/g, ""),
    ],
    ["SPKI DER in hexadecimal digits", der("spki").toString("hex")],
    ["SPKI DER in hexadecimal digits, in lines", `${der("spki").toString("hex").replace(/.{60}/g, "$&\n")}\n`],
    [
      "SPKI DER in hexadecimal digits with colons",
      der("spki")
        .toString("hex")
        .replace(/..(?!$)/g, "$&:"),
    ],
    ["PKCS #1 DER in base64", der("pkcs1").toString("base64")],
    ["SPKI DER of P-256 in base64", der("spki", KEYS.ec("P-256").publicKey).toString("base64")],
    ["SPKI DER of P-521 in base64", der("spki", KEYS.ec("P-521").publicKey).toString("base64")],
    ["SPKI DER of Ed25519 in base64", der("spki", KEYS.ed25519.publicKey).toString("base64")],
  ])("%s is refused", (_name, secret) => {
    expect(issuesOf({ secret })).toEqual([AS_SECRET]);
  });

  const certificate = "a certificate in base64, as in x5c, is refused";
  const made = spawnSync(
    "openssl",
    ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "-", "-subj", "/CN=test", "-outform", "PEM"],
    { encoding: "utf8" },
  );
  if (made.error !== undefined) it.skip(`${certificate} (skipped: there is no openssl to make one)`);
  else {
    it(certificate, () => {
      const [, lines = ""] = /-----BEGIN CERTIFICATE-----\n([^-]+)/.exec(made.stdout) ?? [];
      const secret = lines.replaceAll("\n", "");
      expect(secret.length).toBeGreaterThan(600);
      expect(issuesOf({ secret })).toEqual([AS_SECRET]);
      expect(issuesOf({ secret: `${secret.slice(0, 3)}8${secret.slice(4)}` })).toEqual([]);
    });
  }

  it("text that resembles a key but is not one is accepted", () => {
    const almost = der("spki", KEYS.ec("P-256").publicKey);
    almost.writeUInt8(almost.readUInt8(3) ^ 1, 3);
    expect(issuesOf({ secret: almost.toString("base64") })).toEqual([]);
    expect(issuesOf({ secret: almost.toString("hex") })).toEqual([]);
    expect(issuesOf({ secret: `M${"q7RkL0pXs5MdJf9GbU2eA8hZ3vQ8nT1wYc".slice(1)}` })).toEqual([]);
  });
});
