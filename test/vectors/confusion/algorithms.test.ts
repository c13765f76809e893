import { createSecretKey } from "node:crypto";
import jwt from "jsonwebtoken";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { JSONWEBTOKEN_ALGORITHMS as ALGORITHMS } from "../../../src/jwt/keys/algorithms.js";
import { expectRow, Tally } from "../vectors.js";
import { CLAIMS, Gate } from "./gate.js";
import { NO_ALGORITHM, OTHER_ALGORITHMS } from "./names.js";
import { publicForms } from "./public-forms.js";
import { KEY_PAIRS, ONE_OF_EACH, signed, unsigned, VERIFIERS } from "./verifiers.js";

const gate = new Gate(VERIFIERS);
beforeAll(() => gate.open());
afterAll(() => gate.close());

const payload = JSON.stringify(CLAIMS);

describe("every name of an algorithm, against every kind of key", () => {
  it(
    "the manager's own algorithm name is accepted, every other is refused even with a genuine signature",
    { timeout: 120_000 },
    async () => {
      const tally = new Tally();
      for (const verifier of VERIFIERS) {
        for (const alg of [
          ...ALGORITHMS,
          "EdDSA",
          ...ALGORITHMS.map((name) => name.toLowerCase()),
          ...OTHER_ALGORITHMS,
        ]) {
          const verdict = await gate.judge(verifier, await gate.good(verifier, { alg }));
          expect([verifier.name, alg, verdict]).toEqual([
            verifier.name,
            alg,
            alg === verifier.algorithm ? "accepted" : "algorithm",
          ]);
          tally.count(verdict === "accepted" ? "accepted" : "refused");
        }
      }
      expect(tally.accepted).toBe(VERIFIERS.length);
      expectRow("algorithm names × keys", tally);
    },
  );

  it(
    "a token of each manager is accepted by managers with the same algorithm and key, and by no other",
    { timeout: 120_000 },
    async () => {
      const tally = new Tally();
      for (const signer of VERIFIERS) {
        for (const verifier of VERIFIERS) {
          // As the verifier would write it but for the algorithm and the key.
          const { kid } = await gate.headerOf(verifier);
          const verdict = await gate.judge(verifier, await gate.good(signer, { kid }));
          const same = signer.algorithm === verifier.algorithm;
          const expected = !same ? "algorithm" : signer.key.equals(verifier.key) ? "accepted" : "signature";
          expect([signer.name, verifier.name, verdict]).toEqual([signer.name, verifier.name, expected]);
          tally.count(verdict === "accepted" ? "accepted" : "refused");
        }
      }
      expectRow("signers × verifiers", tally);
    },
  );
});

describe("no algorithm", () => {
  it(
    "is refused in every spelling: without a signature, with a made-up one, and with the manager's own",
    { timeout: 120_000 },
    async () => {
      const tally = new Tally();
      for (const verifier of ONE_OF_EACH) {
        const { kid } = await gate.headerOf(verifier);
        for (const member of NO_ALGORITHM) {
          // With the last of two names right, a header is right: see members.test.ts.
          const header = `{${member},"typ":"at+jwt","kid":${JSON.stringify(kid)}}`;
          const verdicts = [
            await gate.judge(verifier, unsigned(header, payload)),
            await gate.judge(verifier, unsigned(header, payload, "AA")),
            await gate.judge(verifier, signed(header, payload, verifier.algorithm, verifier.key)),
          ];
          expect([verifier.name, member, verdicts]).toEqual([
            verifier.name,
            member,
            ["malformed", "algorithm", "algorithm"],
          ]);
          verdicts.forEach(() => tally.count("refused"));
        }
        const twin = `{"alg":"${verifier.algorithm}","typ":"at+jwt","kid":${JSON.stringify(kid)}}`;
        expect(await gate.judge(verifier, signed(twin, payload, verifier.algorithm, verifier.key))).toBe("accepted");
        tally.count("accepted");
      }
      expectRow("alg none and the like × keys", tally);
    },
  );

  it("jsonwebtoken's own token without a signature is refused", async () => {
    for (const verifier of VERIFIERS) {
      const header = await gate.headerOf(verifier);
      expect(
        await gate.judge(
          verifier,
          jwt.sign({ ...CLAIMS }, "", { algorithm: "none", header: { ...header, alg: "none" } }),
        ),
      ).toBe("malformed");
    }
  });
});

describe("a public key as HMAC secret (CVE-2016-10555)", () => {
  it("signs no token, in any form, that a manager of the key pair accepts", { timeout: 120_000 }, async () => {
    const tally = new Tally();
    for (const verifier of KEY_PAIRS) {
      const own = await gate.headerOf(verifier);
      for (const { name, bytes } of publicForms(verifier.key, own.kid)) {
        for (const hash of ["HS256", "HS384", "HS512"] as const) {
          for (const alg of [hash, verifier.algorithm]) {
            const token = signed(JSON.stringify({ ...own, alg }), payload, hash, createSecretKey(bytes));
            const verdict = await gate.judge(verifier, token);
            expect([verifier.name, name, alg, verdict]).toEqual([
              verifier.name,
              name,
              alg,
              alg === hash ? "algorithm" : "signature",
            ]);
            tally.count("refused");
            // The forgery is a good one: who takes that text for a secret takes the token.
            if (alg === hash)
              expect(
                jwt.verify(token, createSecretKey(bytes), { algorithms: [hash], clockTimestamp: CLAIMS.iat }),
              ).toEqual(CLAIMS);
          }
        }
      }
      expect(await gate.judge(verifier, await gate.good(verifier))).toBe("accepted");
      tally.count("accepted");
    }
    expectRow("public keys as HMAC secrets", tally);
  });
});
