import jwt from "jsonwebtoken";
import { describe, expect, it } from "vitest";
import { ALGORITHMS } from "../../src/jwt/keys/algorithms.js";
import { bench, codeOf, forge, goodClaims, GOOD_HEADER, HMAC_SECRET, KEYS, pem, settingsFor } from "./support.js";

const managers = new Map(ALGORITHMS.map((algorithm) => [algorithm, bench(settingsFor(algorithm)).manager]));

describe("every algorithm against every manager", () => {
  it.each(ALGORITHMS)(
    "a token signed with %s is accepted by a manager for that algorithm and by no other",
    async (algorithm) => {
      const token = await managers.get(algorithm)!.signAccessToken("user-1");
      for (const [other, manager] of managers) {
        expect([other, await codeOf(manager.verifyAccessToken(token))]).toEqual([
          other,
          other === algorithm ? "fulfilled" : "algorithm",
        ]);
      }
    },
  );

  it("a header rewritten to the verifier's algorithm does not help", async () => {
    for (const [from, signer] of managers) {
      const [, payload = "", signature = ""] = (await signer.signAccessToken("user-1")).split(".");
      for (const [to, verifier] of managers) {
        if (from === to) continue;
        const [header = ""] = (await verifier.signAccessToken("user-1")).split(".");
        const code = await codeOf(verifier.verifyAccessToken(`${header}.${payload}.${signature}`));
        expect([from, to, code]).toEqual([from, to, "signature"]);
      }
    }
  });
});

describe("alg none", () => {
  const claims = Buffer.from(JSON.stringify(goodClaims())).toString("base64url");
  const unsigned = (alg: unknown): string => Buffer.from(JSON.stringify({ alg, typ: "at+jwt" })).toString("base64url");
  const spellings = [
    "none",
    "None",
    "NONE",
    "nOnE",
    "none ",
    " none",
    "",
    "null",
    "no\u0000ne",
    null,
    undefined,
    0,
    false,
    [],
    ["none"],
    {},
    { alg: "none" },
  ];
  it.each(spellings)("%j is refused with and without a signature, by every manager", async (alg) => {
    for (const manager of managers.values()) {
      expect(await codeOf(manager.verifyAccessToken(`${unsigned(alg)}.${claims}.`))).toBe("malformed");
      expect(await codeOf(manager.verifyAccessToken(`${unsigned(alg)}.${claims}.AA`))).toBe("algorithm");
    }
  });

  it("a token that jsonwebtoken made with alg none is refused", async () => {
    const token = jwt.sign(goodClaims(), "", { algorithm: "none" });
    for (const manager of managers.values()) expect(await codeOf(manager.verifyAccessToken(token))).toBe("malformed");
  });
});

describe("a public key as HMAC secret (CVE-2016-10555)", () => {
  const { publicKey } = KEYS.rsa;
  const jwk = publicKey.export({ format: "jwk" });
  const secrets: { name: string; secret: string | Buffer }[] = [
    { name: "SPKI PEM", secret: pem(publicKey) },
    { name: "SPKI PEM without its last line feed", secret: pem(publicKey).trimEnd() },
    { name: "SPKI PEM with a character before it (GHSA-ww5h-9m49-7xx4)", secret: `x${pem(publicKey)}` },
    { name: "PKCS #1 PEM", secret: publicKey.export({ format: "pem", type: "pkcs1" }).toString() },
    { name: "SPKI DER", secret: publicKey.export({ format: "der", type: "spki" }) },
    { name: "PKCS #1 DER", secret: publicKey.export({ format: "der", type: "pkcs1" }) },
    { name: "JWK JSON", secret: JSON.stringify(jwk) },
    { name: "JWK modulus", secret: Buffer.from(jwk.n ?? "", "base64url") },
    { name: "an empty secret", secret: "" },
  ];
  it.each(secrets)(
    "$name: refused by the RS256 and PS256 managers under every name of an algorithm",
    async ({ secret }) => {
      for (const verifier of ["RS256", "PS256"] as const) {
        for (const alg of ["HS256", "HS384", "HS512", "RS256", "PS256"]) {
          const token = forge({ ...GOOD_HEADER, alg }, goodClaims(), secret);
          expect(await codeOf(managers.get(verifier)!.verifyAccessToken(token))).toBe(
            alg === verifier ? "signature" : "algorithm",
          );
        }
      }
    },
  );

  it("every such token is refused by an HMAC manager with a real secret", async () => {
    for (const { secret } of secrets)
      expect(await codeOf(managers.get("HS256")!.verifyAccessToken(forge(GOOD_HEADER, goodClaims(), secret)))).toBe(
        "signature",
      );
  });
});

describe("keys that the token brings or names", () => {
  const attacker = KEYS.otherRsa;
  const sign = (header: Record<string, unknown>): string =>
    jwt.sign(goodClaims(), attacker.privateKey, {
      algorithm: "RS256",
      header: { alg: "RS256", typ: "at+jwt", ...header },
    });

  it.each([
    { name: "jwk", header: { jwk: attacker.publicKey.export({ format: "jwk" }) } },
    { name: "jku", header: { jku: "http://127.0.0.1:9/jwks.json" } },
    { name: "x5u", header: { x5u: "http://127.0.0.1:9/cert.pem" } },
    { name: "x5c", header: { x5c: [attacker.publicKey.export({ format: "der", type: "spki" }).toString("base64")] } },
  ])("$name is not followed", async ({ header }) => {
    expect(await codeOf(managers.get("RS256")!.verifyAccessToken(sign(header)))).toBe("signature");
  });

  it.each(["__proto__", "constructor", "../../dev/null", "' OR 1=1 --", ""])("kid %j selects no key", async (kid) => {
    expect(await codeOf(managers.get("RS256")!.verifyAccessToken(sign({ kid })))).toBe("unknown-key");
    expect(
      await codeOf(managers.get("HS256")!.verifyAccessToken(forge({ ...GOOD_HEADER, kid }, goodClaims(), HMAC_SECRET))),
    ).toBe("unknown-key");
  });
});

describe("the forger of these tests can also make a valid token", () => {
  it("so that the refusals above are for the one thing that is wrong", async () => {
    expect(await codeOf(managers.get("HS256")!.verifyAccessToken(forge(GOOD_HEADER, goodClaims(), HMAC_SECRET)))).toBe(
      "fulfilled",
    );
    const header = { ...GOOD_HEADER, alg: "HS512" };
    expect(
      await codeOf(managers.get("HS512")!.verifyAccessToken(forge(header, goodClaims(), HMAC_SECRET, "sha512"))),
    ).toBe("fulfilled");
  });
});
