import { expect, it } from "vitest";
import { JSONWEBTOKEN_ALGORITHMS as ALGORITHMS } from "../../src/jwt/keys/algorithms.js";
import { verifyCompact } from "./verify-compact.js";
import { algorithmNamed, headerOf, type Jwk, verifyingKey } from "./jwk.js";
import { describeVectors, expectRow, readVectors, Tally } from "./vectors.js";

const FILE = "wycheproof/json_web_crypto_test.json";

type Keys = Jwk | { readonly keys: readonly Jwk[] };
interface Group {
  readonly comment: string;
  readonly private: Keys;
  readonly public?: Keys;
  readonly tests: readonly {
    readonly tcId: number;
    readonly comment: string;
    readonly jws?: string;
    readonly jwe?: string;
    readonly result: "valid" | "invalid";
  }[];
}

/** Rows where the file and we differ. */
const DIFFERENCES: ReadonlyMap<number, string> = new Map([
  [
    46,
    "the key is of CVE-2017-15361; keys come from settings, which refuse it (wycheproof-keys.test.ts), and the signature itself is right",
  ],
  [
    47,
    "a set of keys for two algorithms; keys come from settings, which refuse it (wycheproof-keys.test.ts), and the signature itself is right",
  ],
]);

const keysOf = (keys: Keys): readonly Jwk[] => ("keys" in keys ? (keys.keys as readonly Jwk[]) : [keys]);

/** Under the key the token names, or under the first when it names none that is there. */
function taken(token: string, keys: readonly Jwk[]): boolean {
  const jwk = keys.find(({ kid }) => kid === kidOf(token)) ?? keys[0]!;
  return verifyCompact(token, verifyingKey(jwk), algorithmNamed(jwk.alg)!).ok;
}

function kidOf(token: string): string | undefined {
  try {
    return headerOf(token).kid;
  } catch {
    return undefined;
  }
}

describeVectors("Wycheproof JSON web crypto", FILE, () => {
  const { testGroups } = readVectors<{ testGroups: Group[] }>(FILE);
  const all = testGroups.flatMap((group) =>
    group.tests.map((test) => ({ ...test, keys: keysOf(group.public ?? group.private) })),
  );

  it("every signature gets the verdict of the file, except those in the table", () => {
    const tally = new Tally();
    const differing: number[] = [];
    for (const { tcId, jws, keys, result } of all) {
      if (jws === undefined) continue;
      const agrees = taken(jws, keys) === (result === "valid");
      if (!agrees) differing.push(tcId);
      tally.count(!agrees ? "questionable" : result === "valid" ? "accepted" : "refused");
    }
    expect(differing).toEqual([...DIFFERENCES.keys()]);
    expectRow("Wycheproof JWS with JWK", tally);
  });

  it("no encrypted token (JWE) is accepted, valid or not, whatever the key and the algorithm", () => {
    const tally = new Tally();
    for (const { tcId, jwe, keys } of all) {
      if (jwe === undefined) continue;
      const verdicts = ALGORITHMS.map((algorithm) => verifyCompact(jwe, verifyingKey(keys[0]!), algorithm));
      expect([tcId, new Set(verdicts.map((verdict) => (verdict.ok ? "taken" : verdict.code)))]).toEqual([
        tcId,
        new Set(["malformed"]),
      ]);
      tally.count("refused");
    }
    expectRow("Wycheproof JWE", tally);
  });
});
