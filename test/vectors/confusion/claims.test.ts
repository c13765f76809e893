import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectRow, Tally } from "../vectors.js";
import { type ClaimCase, NAMES, PAYLOADS, TIMES, withClaim } from "./claims.js";
import { Gate } from "./gate.js";
import { FAMILIES, signed } from "./verifiers.js";

const gate = new Gate(FAMILIES);
beforeAll(() => gate.open());
afterAll(() => gate.close());

/** Payloads under the managers' own keys: only what they say can be to blame. */
async function judgeAll(
  rows: readonly { readonly name: string; readonly json: string; readonly verdict: string }[],
): Promise<Tally> {
  const tally = new Tally();
  for (const verifier of FAMILIES) {
    const header = JSON.stringify(await gate.headerOf(verifier));
    for (const { name, json, verdict } of rows) {
      const token = signed(header, json, verifier.algorithm, verifier.key);
      expect([verifier.name, name, await gate.judge(verifier, token)]).toEqual([verifier.name, name, verdict]);
      tally.count(verdict === "accepted" ? "accepted" : "refused");
    }
  }
  return tally;
}

const rowsOf = (cases: readonly ClaimCase[]) =>
  cases.map((one) => ({ name: `${one.claim} ${one.json?.slice(0, 30)}`, json: withClaim(one), verdict: one.verdict }));

describe("claims as raw JSON, signed with the right key", () => {
  it("times: endless, a thousand million years, text, negative, fractions, no JSON", { timeout: 120_000 }, async () => {
    expectRow("exp, iat, nbf and iat_ms × families", await judgeAll(rowsOf(TIMES)));
  });

  it("names: absent, of the wrong type, or nearly right", { timeout: 120_000 }, async () => {
    expectRow("other claims × families", await judgeAll(rowsOf(NAMES)));
  });

  it("payloads that are no object, hide their claims, or give one twice", { timeout: 120_000 }, async () => {
    expectRow("payloads × families", await judgeAll(PAYLOADS));
  });

  it("every claim that is refused in one form is accepted in another", () => {
    const refused = new Set(
      [...TIMES, ...NAMES].filter(({ verdict }) => verdict !== "accepted").map(({ claim }) => claim),
    );
    const taken = new Set(
      [...TIMES, ...NAMES].filter(({ verdict }) => verdict === "accepted").map(({ claim }) => claim),
    );
    // The right claims themselves, which every accepted row holds, are the twin of the others.
    for (const claim of ["sub", "iss", "fam"] as const) taken.add(claim);
    expect([...refused].filter((claim) => !taken.has(claim))).toEqual([]);
  });
});
