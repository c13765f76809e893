import { expect, it } from "vitest";
import type { JsonwebtokenAlgorithm } from "../../src/jwt/keys/algorithms.js";
import { KeyRing } from "../../src/jwt/keys/key-ring.js";
import { JwtManager } from "../../src/jwt/manager.js";
import type { JwtSettings } from "../../src/jwt/settings.js";
import { verifyCompact } from "./verify-compact.js";
import { SettingsError } from "../../src/settings/errors.js";
import { algorithmNamed, headerOf, type Jwk, privateKey, verifyingKey } from "./jwk.js";
import { describeVectors, expectRow, readVectors, Tally } from "./vectors.js";

const FILE = "wycheproof/json_web_key_test.json";

interface Group {
  readonly comment: string;
  readonly private: { readonly keys: readonly Jwk[] };
  readonly tests: readonly {
    readonly tcId: number;
    readonly comment: string;
    readonly jws: string;
    readonly result: "valid" | "invalid";
  }[];
}

/** Who refuses a row: node:crypto, which does not read the key; our settings, by the codes of their issues; our check of the signature. */
type Verdict = "taken" | "no key" | "signature" | `settings: ${string}`;

/** Every row, and who refuses it. */
const EXPECTED: Readonly<Record<number, Verdict>> = {
  1: "settings: contradiction",
  2: "taken",
  3: "signature",
  4: "settings: contradiction",
  5: "taken",
  6: "settings: wrong-value",
  7: "settings: weak-secret",
  8: "settings: weak-secret",
  9: "settings: weak-secret",
  10: "settings: weak-secret",
  11: "settings: weak-secret",
  12: "settings: weak-secret",
  13: "settings: weak-secret",
  14: "settings: weak-secret",
  15: "settings: weak-secret",
  16: "settings: weak-secret",
  17: "settings: weak-secret",
  18: "settings: weak-secret",
  19: "settings: wrong-value",
  20: "settings: wrong-value",
  21: "taken",
  22: "no key",
  23: "no key",
  24: "no key",
  25: "settings: wrong-value",
  26: "settings: wrong-value",
};

/** Rows where the file and we differ, and why. */
const DIFFERENCES: Readonly<Record<number, string>> = {
  13: "the key counts from 0 to 64, and settings refuse a secret that regular; under the key itself the signature matches, as the test below shows",
  14: "the same",
  15: "the same",
  21: "differs from a valid row by the JWK's use alone, which a KeyObject does not carry; keys here come from settings, not from JWKs",
};

/** Settings take a secret as text. Bytes that are no text are given in base64url, as `openssl rand` would be; the signature is checked under the bytes. */
function secretText(k: string): string {
  const bytes = Buffer.from(k, "base64url");
  return Buffer.from(bytes.toString()).equals(bytes) ? bytes.toString() : k;
}

function entryOf(jwk: Jwk): NonNullable<JwtSettings["keys"]>[number] {
  const { kid } = jwk;
  if (jwk.kty === "oct") return { kid, secret: secretText(String(jwk.k)) };
  return jwk.d === undefined ? { kid, publicKey: verifyingKey(jwk) } : { kid, privateKey: privateKey(jwk) };
}

/** As an app would use such a set: its keys as settings, then the token under the key it names. */
function judge(keys: readonly Jwk[], jws: string): Verdict {
  const { kid } = headerOf(jws);
  const named = keys.find((key) => key.kid === kid)!;
  let entries;
  try {
    entries = keys.map(entryOf);
  } catch {
    return "no key";
  }
  try {
    const manager = new JwtManager({ algorithm: named.alg as JwtSettings["algorithm"], keys: entries });
    const ring = KeyRing.from(manager.options, undefined)!;
    const key = ring.find(kid)!;
    return verifyCompact(
      jws,
      key.type === "secret" ? verifyingKey(named) : key,
      ring.algorithm as JsonwebtokenAlgorithm,
    ).ok
      ? "taken"
      : "signature";
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    return `settings: ${[...new Set(error.issues.map(({ code }) => code))].join()}`;
  }
}

describeVectors("Wycheproof JSON web keys", FILE, () => {
  const { testGroups } = readVectors<{ testGroups: Group[] }>(FILE);
  const all = testGroups.flatMap((group) => group.tests.map((test) => ({ ...test, keys: group.private.keys })));

  it("every row gets the verdict of the file, except those in the table", () => {
    const tally = new Tally();
    const verdicts = new Map<number, Verdict>();
    for (const { tcId, keys, jws, result } of all) {
      const verdict = judge(keys, jws);
      verdicts.set(tcId, verdict);
      const agrees = (verdict === "taken") === (result === "valid");
      expect([tcId, agrees]).toEqual([tcId, !(tcId in DIFFERENCES)]);
      tally.count(!agrees ? "questionable" : verdict === "taken" ? "accepted" : "refused");
    }
    expect(Object.fromEntries(verdicts)).toEqual(EXPECTED);
    expectRow("Wycheproof JWK", tally);
  });

  it("under a key longer than the hash a signature matches", () => {
    const long = all.filter(({ comment }) => comment === "long_key");
    expect(
      long.map(({ tcId, keys: [key], jws }) => [
        tcId,
        verifyCompact(jws, verifyingKey(key!), algorithmNamed(key!.alg)!).ok,
      ]),
    ).toEqual([
      [13, true],
      [14, true],
      [15, true],
    ]);
  });
});
