import { createPublicKey, createSecretKey, type JsonWebKey, type KeyObject } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { ALGORITHMS, type JwtAlgorithm } from "../../src/jwt/algorithms.js";
import { verifyCompact } from "../../src/jwt/verify-compact.js";

const vectors = (path: string): string => fileURLToPath(new URL(`../../../shared/vectors/${path}`, import.meta.url));
const WYCHEPROOF = vectors("wycheproof/json_web_signature_test.json");
const COOKBOOK = vectors("jose-cookbook/jws");

/** Rows where the file and we differ, and why. Everything else must agree. */
const DIFFERENCES: ReadonlyMap<number, { ours: "taken" | "refused"; reason: string }> = new Map([
  ...rows("refused", "empty payload: no JWT has one", 259, 264, 268, 272, 320, 325),
  ...rows("refused", "the JWK says PS256, the header PS384", 346, 350),
  ...rows("taken", "differs from a valid row by the JWK's use alone, which a KeyObject does not carry; keys here come from settings, not from JWKs", 353, 354),
  ...rows("taken", "the same with key_ops", 355, 356),
  ...rows("taken", "byte for byte the same as row 357, which is valid", 367, 370),
  ...rows("refused", "holds a '?', which is no character of base64url", 372, 373),
]);

function rows(ours: "taken" | "refused", reason: string, ...ids: number[]): [number, { ours: "taken" | "refused"; reason: string }][] {
  return ids.map((id) => [id, { ours, reason }]);
}

interface Row {
  tcId: number;
  comment: string;
  jws: string;
  result: "valid" | "invalid";
}

interface Group {
  comment: string;
  private?: JsonWebKey & { alg?: string };
  public?: JsonWebKey & { alg?: string };
  tests: Row[];
}

function absent(what: string): void {
  process.stdout.write(`test/jwt/wycheproof.test.ts: ${what} is not there, so its vectors were not run. They are kept beside the repository, not in it.\n`);
}

function keyOf(jwk: JsonWebKey): KeyObject {
  return jwk.kty === "oct" ? createSecretKey(Buffer.from(String(jwk.k), "base64url")) : createPublicKey({ key: jwk, format: "jwk" });
}

/** The algorithm of the key ("ES521" is a slip of the file), or of the token where the key names none. */
function algorithmOf(jwk: { alg?: string }, jws: string): JwtAlgorithm | undefined {
  const named = jwk.alg === "ES521" ? "ES512" : jwk.alg;
  const alg = named ?? (JSON.parse(Buffer.from(jws.split(".")[0] ?? "", "base64url").toString()) as { alg?: string }).alg;
  return ALGORITHMS.find((algorithm) => algorithm === alg);
}

describe("Wycheproof JSON web signatures", () => {
  it("agrees with every row but those in the table", () => {
    if (!existsSync(WYCHEPROOF)) return absent(WYCHEPROOF);
    const { testGroups } = JSON.parse(readFileSync(WYCHEPROOF, "utf8")) as { testGroups: Group[] };
    const surprises: string[] = [];
    const differing = new Set<number>();
    let rows = 0;
    for (const group of testGroups) {
      const jwk = group.public ?? group.private ?? {};
      for (const { tcId, comment, jws, result } of group.tests) {
        const algorithm = algorithmOf(jwk, jws);
        expect([tcId, algorithm]).not.toEqual([tcId, undefined]);
        const ours = verifyCompact(jws, keyOf(jwk), algorithm!).ok ? "taken" : "refused";
        const theirs = result === "valid" ? "taken" : "refused";
        rows += 1;
        if (ours !== theirs) differing.add(tcId);
        if (ours !== (DIFFERENCES.get(tcId)?.ours ?? theirs)) surprises.push(`${tcId} ${group.comment} ${comment}: ${ours}`);
      }
    }
    expect(surprises).toEqual([]);
    expect([...differing].sort((a, b) => a - b)).toEqual([...DIFFERENCES.keys()].sort((a, b) => a - b));
    expect(rows).toBe(401);
  });
});

describe("RFC 7520", () => {
  it("every compact signature of the cookbook verifies, and none with a changed last byte", () => {
    if (!existsSync(COOKBOOK)) return absent(COOKBOOK);
    let checked = 0;
    for (const file of readdirSync(COOKBOOK)) {
      const { input, output } = JSON.parse(readFileSync(`${COOKBOOK}/${file}`, "utf8")) as { input: { key: JsonWebKey; alg?: string }; output: { compact?: string } };
      const compact = output.compact;
      const algorithm = ALGORITHMS.find((known) => known === input.alg);
      if (compact === undefined || compact.includes("..") || algorithm === undefined) continue;
      const { kty, n, e, crv, x, y, k } = input.key;
      const key = keyOf({ kty, n, e, crv, x, y, k });
      expect([file, verifyCompact(compact, key, algorithm).ok]).toEqual([file, true]);
      const bytes = Buffer.from(compact.slice(compact.lastIndexOf(".") + 1), "base64url");
      bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
      const changed = `${compact.slice(0, compact.lastIndexOf("."))}.${bytes.toString("base64url")}`;
      expect([file, verifyCompact(changed, key, algorithm)]).toEqual([file, { ok: false, code: "signature" }]);
      checked += 1;
    }
    expect(checked).toBe(4);
  });
});
