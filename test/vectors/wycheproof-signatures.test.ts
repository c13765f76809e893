import { expect, it } from "vitest";
import { verifyCompact } from "./verify-compact.js";
import { algorithmNamed, headerOf, type Jwk, verifyingKey } from "./jwk.js";
import { describeVectors, expectRow, readVectors, Tally } from "./vectors.js";

const FILE = "wycheproof/json_web_signature_test.json";

interface Group {
  readonly comment: string;
  readonly private?: Jwk;
  readonly public?: Jwk;
  readonly tests: readonly {
    readonly tcId: number;
    readonly comment: string;
    readonly jws: string;
    readonly result: "valid" | "invalid";
  }[];
}

interface Difference {
  readonly ours: "taken" | "refused";
  readonly reason: string;
}

/** Rows where the file and we differ, and why. Everything else must agree. */
const DIFFERENCES: ReadonlyMap<number, Difference> = new Map([
  ...rows("refused", "empty payload: no JWT has one", 259, 264, 268, 272, 320, 325),
  ...rows("refused", "the JWK says PS256, the header PS384", 346, 350),
  ...rows(
    "taken",
    "differs from a valid row by the JWK's use alone, which a KeyObject does not carry; keys here come from settings, not from JWKs",
    353,
    354,
  ),
  ...rows("taken", "the same with key_ops", 355, 356),
  ...rows("taken", "byte for byte the same as row 357, which is valid", 367, 370),
  ...rows("refused", "holds a '?', which is no character of base64url", 372, 373),
]);

function rows(ours: Difference["ours"], reason: string, ...ids: number[]): [number, Difference][] {
  return ids.map((id) => [id, { ours, reason }]);
}

describeVectors("Wycheproof JSON web signatures", FILE, () => {
  const { testGroups } = readVectors<{ testGroups: Group[] }>(FILE);
  const all = testGroups.flatMap((group) =>
    group.tests.map((test) => ({ ...test, group: group.comment, jwk: group.public ?? group.private ?? {} })),
  );

  /** The algorithm of the key ("ES521" is a slip of the file), or of the token where the key names none. */
  const algorithmOf = ({ alg }: Jwk, jws: string) =>
    algorithmNamed(alg === "ES521" ? "ES512" : (alg ?? headerOf(jws).alg));

  it("the verifier agrees with every row except those in the table", () => {
    const tally = new Tally();
    const surprises: string[] = [];
    const differing: number[] = [];
    for (const { tcId, comment, jws, result, group, jwk } of all) {
      const algorithm = algorithmOf(jwk, jws);
      expect([tcId, algorithm]).not.toEqual([tcId, undefined]);
      const ours = verifyCompact(jws, verifyingKey(jwk), algorithm!).ok ? "taken" : "refused";
      const theirs = result === "valid" ? "taken" : "refused";
      if (ours !== theirs) differing.push(tcId);
      if (ours !== (DIFFERENCES.get(tcId)?.ours ?? theirs)) surprises.push(`${tcId} ${group} ${comment}: ${ours}`);
      tally.count(ours !== theirs ? "questionable" : ours === "taken" ? "accepted" : "refused");
    }
    expect(surprises).toEqual([]);
    expect(differing.sort((a, b) => a - b)).toEqual([...DIFFERENCES.keys()].sort((a, b) => a - b));
    expectRow("Wycheproof JWS", tally);
  });

  it("the verifier accepts no invalid row, unless its signature is also that of a valid one", () => {
    const valid = new Set(all.filter(({ result }) => result === "valid").map(({ jws }) => jws));
    const taken = all.filter(
      ({ jws, jwk, result }) =>
        result === "invalid" && verifyCompact(jws, verifyingKey(jwk), algorithmOf(jwk, jws)!).ok,
    );
    expect(taken.filter(({ jws }) => !valid.has(jws)).map(({ tcId }) => tcId)).toEqual([]);
  });
});
