import { createPublicKey } from "node:crypto";
import { expect, it } from "vitest";
import { JSONWEBTOKEN_ALGORITHMS as ALGORITHMS, type JsonwebtokenAlgorithm } from "../../src/jwt/keys/algorithms.js";
import { derivedKid, publicHalf } from "../../src/jwt/keys/key-ids.js";
import { JwtManager } from "../../src/jwt/manager.js";
import { verifyCompact } from "./verify-compact.js";
import { SettingsError } from "../../src/settings/errors.js";
import { bench, codeOf, HMAC_SECRET, settingsFor } from "../jwt/support.js";
import { singleChanges } from "./changes.js";
import { algorithmNamed, type Jwk, privateKey, verifyingKey } from "./jwk.js";
import { describeVectors, expectRow, readVectors, Tally, vectorFiles } from "./vectors.js";

interface Signature {
  readonly protected?: string;
  readonly signature: string;
}
interface Cookbook {
  readonly title: string;
  readonly input: {
    readonly payload?: string;
    readonly key: Jwk | readonly Jwk[];
    readonly alg: string | readonly string[];
  };
  readonly output: {
    readonly compact?: string;
    readonly json?: { readonly payload?: string; readonly signatures?: readonly Signature[] };
    readonly json_flat?: unknown;
  };
}

const list = <T>(value: T | readonly T[]): readonly T[] =>
  Array.isArray(value) ? (value as readonly T[]) : [value as T];
const verdict = (text: string, jwk: Jwk, algorithm: JsonwebtokenAlgorithm): string => {
  const outcome = verifyCompact(text, verifyingKey(jwk), algorithm);
  return outcome.ok ? "taken" : outcome.code;
};

/** Each form in which a file gives its signatures, and what we say to it under the key and algorithm of the file. */
const EXPECTED: Readonly<Record<string, string>> = {
  "jws/4_1.rsa_v15_signature compact": "taken",
  "jws/4_2.rsa-pss_signature compact": "taken",
  "jws/4_3.ecdsa_signature compact": "taken",
  "jws/4_4.hmac-sha2_integrity_protection compact": "taken",
  // RFC 7515 appendix F: the payload travels elsewhere. Here a token is whole or none.
  "jws/4_5.signature_with_detached_content compact": "malformed",
  // RFC 7797: what is signed is not what stands between the dots in base64url.
  "rfc7797/hmac-sha2_b64_false compact": "malformed",
};

/** A signature of the JSON form put together as a compact token: right where the protected header holds all that matters. */
const REASSEMBLED: Readonly<Record<string, readonly string[]>> = {
  "jws/4_1.rsa_v15_signature": ["taken"],
  "jws/4_2.rsa-pss_signature": ["taken"],
  "jws/4_3.ecdsa_signature": ["taken"],
  "jws/4_4.hmac-sha2_integrity_protection": ["taken"],
  "jws/4_5.signature_with_detached_content": ["taken"],
  "jws/4_6.protecting_specific_header_fields": ["taken"],
  // No protected header: the algorithm would be an unsigned word of the sender's.
  "jws/4_7.protecting_content_only": ["malformed"],
  "jws/4_8.multiple_signatures": ["taken", "malformed", "taken"],
  "rfc7797/4.2.hmac-sha2_b64_false": ["critical-header"],
  "rfc7797/hmac-sha2_b64_false": ["critical-header"],
};

describeVectors("RFC 7520, the cookbook, and RFC 7797", "jose-cookbook", () => {
  const files = ["jws", "rfc7797"].flatMap((folder) =>
    vectorFiles(`jose-cookbook/${folder}`).map((path) => ({
      name: path.slice("jose-cookbook/".length, -".json".length),
      ...readVectors<Cookbook>(path),
    })),
  );
  const compact = files.flatMap(({ name, input, output }) =>
    output.compact === undefined
      ? []
      : [{ name, jwk: list(input.key)[0]!, algorithm: algorithmNamed(input.alg)!, token: output.compact }],
  );
  const taken = compact.filter(({ name }) => EXPECTED[`${name} compact`] === "taken");

  it("every compact signature with a supported algorithm matches, and no other form is accepted", () => {
    expect(
      Object.fromEntries(
        compact.map(({ name, token, jwk, algorithm }) => [`${name} compact`, verdict(token, jwk, algorithm)]),
      ),
    ).toEqual(EXPECTED);
    const tally = new Tally();
    for (const { name } of compact) tally.count(EXPECTED[`${name} compact`] === "taken" ? "accepted" : "refused");
    for (const { name, input, output } of files) {
      for (const form of [output.json, output.json_flat]) {
        if (form === undefined) continue;
        const verdicts = ALGORITHMS.map((algorithm) => verdict(JSON.stringify(form), list(input.key)[0]!, algorithm));
        expect([name, new Set(verdicts)]).toEqual([name, new Set(["malformed"])]);
        tally.count("refused");
      }
    }
    expectRow("RFC 7520 and 7797 JWS", tally);
  });

  it("each signature of a JSON form, rewritten as a compact token, is accepted or refused for its own reason", () => {
    const verdicts = files.map(({ name, input, output }) => {
      const payload = Buffer.from(input.payload ?? "").toString("base64url");
      const signatures = output.json?.signatures ?? [];
      return [
        name,
        signatures.map((one, index) =>
          verdict(
            `${one.protected ?? ""}.${payload}.${one.signature}`,
            list(input.key)[index]!,
            algorithmNamed(list(input.alg)[index])!,
          ),
        ),
      ];
    });
    expect(Object.fromEntries(verdicts)).toEqual(REASSEMBLED);
  });

  it.each(taken)(
    "$name with any one character changed, left out or put in is refused",
    { timeout: 60_000 },
    ({ token, jwk, algorithm }) => {
      const key = verifyingKey(jwk);
      let changes = 0;
      for (const changed of singleChanges(token)) {
        if (verifyCompact(changed, key, algorithm).ok) expect.fail(`taken after change ${changes}`);
        changes += 1;
      }
      expect(changes).toBeGreaterThan(token.length * 7);
    },
  );

  it("a manager refuses each example as what it is: not an access token, or not a token", async () => {
    for (const { name, token, algorithm } of compact) {
      const { manager } = bench(settingsFor(algorithm));
      expect([name, await codeOf(manager.verifyAccessToken(token))]).toEqual([
        name,
        EXPECTED[`${name} compact`] === "taken" ? "type" : "malformed",
      ]);
    }
  });

  it("Ed25519 is not supported: its signature and its key are refused for the algorithm, and a JWE as malformed", () => {
    const tally = new Tally();
    const ed = readVectors<Cookbook>("jose-cookbook/curve25519/jws.json");
    const jwe = readVectors<Cookbook>("jose-cookbook/curve25519/ecdh-es.json");
    const rsa = taken[0]!.jwk;
    for (const algorithm of ALGORITHMS) {
      expect([algorithm, verdict(ed.output.compact!, rsa, algorithm)]).toEqual([algorithm, "algorithm"]);
      expect([algorithm, verdict(jwe.output.compact!, rsa, algorithm)]).toEqual([algorithm, "malformed"]);
      const settings = { algorithm, keys: [{ privateKey: privateKey(list(ed.input.key)[0]!) }] };
      expect(() => new JwtManager(settings)).toThrow(SettingsError);
    }
    for (const { output } of [ed, jwe])
      for (const form of [output.compact, output.json, output.json_flat])
        if (form !== undefined) tally.count("refused");
    expectRow("Curve25519 (RFC 8037)", tally);
  });

  it("settings accept each key of the examples for its own algorithms, and both halves get the same key id", () => {
    const tally = new Tally();
    const jwk = (file: string): Jwk => readVectors<Jwk>(`jose-cookbook/jwk/${file}.json`);
    for (const [whole, half, algorithms] of [
      ["3_2.ec_private_key", "3_1.ec_public_key", ["ES512"]],
      ["3_4.rsa_private_key", "3_3.rsa_public_key", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]],
    ] as const) {
      const key = privateKey(jwk(whole));
      const other = verifyingKey(jwk(half));
      expect(derivedKid(key)).toBe(derivedKid(other));
      expect(createPublicKey(key).equals(publicHalf(other))).toBe(true);
      const fits = ALGORITHMS.filter((algorithm) => takes({ algorithm, privateKey: key }));
      expect([whole, fits]).toEqual([whole, algorithms]);
      tally.count("accepted");
      // Alone it cannot sign, and an HMAC manager takes none.
      expect(ALGORITHMS.filter((algorithm) => takes({ algorithm, keys: [{ publicKey: other }] }))).toEqual([]);
      expect(takes({ algorithm: "HS256", keys: [{ secret: HMAC_SECRET }, { publicKey: other }] })).toBe(false);
      tally.count("refused");
    }
    const { k } = jwk("3_5.symmetric_key_mac_computation");
    expect(ALGORITHMS.filter((algorithm) => takes({ algorithm, secret: String(k) }))).toEqual(["HS256"]);
    tally.count("accepted");
    // The key of 3.6 is for encryption. As text it is a good secret, and a KeyObject or text does not carry its use.
    tally.count("leftOut");
    expectRow("RFC 7520 section 3 JWK", tally);
  });
});

function takes(settings: ConstructorParameters<typeof JwtManager>[0]): boolean {
  try {
    new JwtManager(settings);
    return true;
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    return false;
  }
}
