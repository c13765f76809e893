import { describe, expect, it } from "vitest";
import { familyOf, JSONWEBTOKEN_ALGORITHMS as ALGORITHMS } from "../../src/jwt/keys/algorithms.js";
import { verifyCompact } from "./verify-compact.js";
import { bench, codeOf, settingsFor } from "../jwt/support.js";
import { singleChanges } from "./changes.js";
import { algorithmNamed, verifyingKey } from "./jwk.js";
import { EXAMPLES, NO_TOKENS } from "./rfc7515.js";
import { expectRow, Tally } from "./vectors.js";

const examples = EXAMPLES.map((example) => ({
  ...example,
  verifier: verifyingKey(example.key),
  algorithm: algorithmNamed(example.key.alg)!,
}));

describe("RFC 7515", () => {
  it.each(examples)(
    "the signature of appendix $section matches, and the payload is what it says",
    ({ token, verifier, algorithm, payload }) => {
      expect(verifyCompact(token, verifier, algorithm)).toEqual(expect.objectContaining({ ok: true, payload }));
    },
  );

  it.each(examples)(
    "the token of $section with any one character changed, left out or put in is refused",
    { timeout: 60_000 },
    ({ token, verifier, algorithm }) => {
      let changes = 0;
      for (const changed of singleChanges(token)) {
        if (verifyCompact(changed, verifier, algorithm).ok) expect.fail(`taken: change ${changes}`);
        changes += 1;
      }
      expect(changes).toBeGreaterThan(token.length * 7);
    },
  );

  it("each is refused under every other algorithm, and under the key of every other example", () => {
    for (const { section, token, verifier, algorithm } of examples) {
      for (const other of ALGORITHMS) {
        if (other !== algorithm)
          expect([section, other, verifyCompact(token, verifier, other)]).toEqual([
            section,
            other,
            { ok: false, code: "algorithm" },
          ]);
      }
      for (const other of examples) {
        if (other.section !== section)
          expect([section, other.section, verifyCompact(token, other.verifier, algorithm)]).toEqual([
            section,
            other.section,
            { ok: false, code: "signature" },
          ]);
      }
    }
  });

  it("a manager refuses all of them: the types it gives out are at+jwt, and the keys are not its own", async () => {
    const tally = new Tally();
    for (const { section, token, algorithm } of examples) {
      const { manager } = bench(settingsFor(algorithm));
      expect([section, familyOf(algorithm), await codeOf(manager.verifyAccessToken(token))]).toEqual([
        section,
        familyOf(algorithm),
        "type",
      ]);
      tally.count("accepted");
    }
    for (const { section, text } of NO_TOKENS) {
      for (const algorithm of ALGORITHMS) {
        expect([
          section,
          algorithm,
          await codeOf(bench(settingsFor(algorithm)).manager.verifyAccessToken(text)),
        ]).toEqual([section, algorithm, "malformed"]);
      }
      tally.count("refused");
    }
    expectRow("RFC 7515 appendices", tally);
  });

  it("an unsigned example is refused for its algorithm, and for its extension once it is signed", () => {
    const [none, critical] = [NO_TOKENS[0]!, NO_TOKENS[3]!].map(({ text }) => `${text}AA`);
    const { verifier } = examples[0]!;
    expect(verifyCompact(none, verifier, "HS256")).toEqual({ ok: false, code: "algorithm" });
    expect(verifyCompact(critical, verifier, "HS256")).toEqual({ ok: false, code: "algorithm" });
  });
});
