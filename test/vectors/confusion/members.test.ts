import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectRow, Tally } from "../vectors.js";
import { CLAIMS, Gate } from "./gate.js";
import { broughtKeys, CRITICAL, type HeaderCase, kidCases, TYPES } from "./members.js";
import { attackersKey, FAMILIES, ONE_OF_EACH, signed, type Verifier, VERIFIERS } from "./verifiers.js";

const gate = new Gate(VERIFIERS);
const payload = JSON.stringify(CLAIMS);

/** Where the tokens say that keys lie. Nobody may ask. */
let asked = 0;
const elsewhere: Server = createServer((_req, res) => {
  asked += 1;
  res.end("{}");
});
beforeAll(async () => {
  await gate.open();
  elsewhere.listen(0, "127.0.0.1");
  await once(elsewhere, "listening");
});
afterAll(async () => {
  await gate.close();
  elsewhere.close();
  await once(elsewhere, "close");
});

/** `cases` in a header that is otherwise right, under the manager's own key: only the member can be to blame. */
async function judgeAll(verifier: Verifier, cases: readonly HeaderCase[], rest: string, tally: Tally): Promise<void> {
  for (const { member, verdict } of cases) {
    const token = signed(`{"alg":"${verifier.algorithm}",${rest}${member}}`, payload, verifier.algorithm, verifier.key);
    expect([verifier.name, member, await gate.judge(verifier, token)]).toEqual([verifier.name, member, verdict]);
    tally.count(verdict === "accepted" ? "accepted" : "refused");
  }
}

describe("members of a header, signed with the right key", () => {
  it(
    "crit and b64 are refused in every form; what only looks like them changes nothing",
    { timeout: 120_000 },
    async () => {
      const tally = new Tally();
      for (const verifier of FAMILIES) await judgeAll(verifier, CRITICAL, '"typ":"at+jwt",', tally);
      expectRow("crit and b64 × families", tally);
    },
  );

  it("kid names a key of the manager, exactly, or none", { timeout: 120_000 }, async () => {
    const tally = new Tally();
    for (const verifier of FAMILIES)
      await judgeAll(verifier, kidCases((await gate.headerOf(verifier)).kid), '"typ":"at+jwt",', tally);
    expectRow("kid × families", tally);
  });

  it("typ says that it is an access token", { timeout: 120_000 }, async () => {
    const tally = new Tally();
    for (const verifier of FAMILIES) await judgeAll(verifier, TYPES, "", tally);
    expectRow("typ × families", tally);
  });

  it("in a ring each key answers to its own name alone, and a token that names none is tried under no key", async () => {
    for (const verifier of VERIFIERS.filter(({ settings }) => settings.keys !== undefined)) {
      const judge = async (kid: string | undefined): Promise<string> =>
        gate.judge(verifier, await gate.good(verifier, { kid }));
      expect([
        verifier.name,
        await judge("new"),
        await judge("old"),
        await judge("New"),
        await judge(undefined),
      ]).toEqual([verifier.name, "accepted", "signature", "unknown-key", "unknown-key"]);
    }
  });
});

describe("a key that the token brings, or says where to find", () => {
  it(
    "is neither read nor fetched; with the manager's own signature the same members change nothing",
    { timeout: 120_000 },
    async () => {
      const tally = new Tally();
      const { port } = elsewhere.address() as AddressInfo;
      for (const verifier of ONE_OF_EACH) {
        const own = await gate.headerOf(verifier);
        const key = attackersKey(verifier);
        expect(key.equals(verifier.key)).toBe(false);
        for (const brought of broughtKeys(key, `http://127.0.0.1:${port}`)) {
          const judge = (header: object, signer: typeof key): Promise<string> =>
            gate.judge(verifier, signed(JSON.stringify(header), payload, verifier.algorithm, signer));
          const verdicts = [
            await judge({ ...own, ...brought }, key),
            await judge({ ...own, kid: "attacker", ...brought }, key),
            await judge({ ...own, ...brought }, verifier.key),
          ];
          expect([verifier.name, Object.keys(brought), verdicts]).toEqual([
            verifier.name,
            Object.keys(brought),
            ["signature", "unknown-key", "accepted"],
          ]);
          for (const verdict of verdicts) tally.count(verdict === "accepted" ? "accepted" : "refused");
        }
      }
      expect(asked).toBe(0);
      expectRow("keys in the header × algorithms", tally);
    },
  );
});
