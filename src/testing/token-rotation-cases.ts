import assert from "node:assert/strict";
import type { TokenStore } from "../stores/contracts.js";
import { type ConformanceCase, countTrue, UNSTORABLE_TEXTS } from "./conformance.js";
import { sampleToken } from "./samples.js";

export type TokenCase = (name: string, check: (store: TokenStore) => Promise<void>) => ConformanceCase;

/** The checks of the rotation of refresh tokens. */
export function rotationCases(testCase: TokenCase): ConformanceCase[] {
  return [
    testCase("rotate: marks the token as used and inserts the successor", async (store) => {
      const token = sampleToken();
      const successor = sampleToken({ id: "token-2", hash: "other" });
      await store.insert(token);
      const usedAt = Date.now() + 5;
      assert.equal(await store.rotate("token-1", usedAt, successor, 'sealed\'s "text"'), true);
      assert.deepEqual(await store.get("token-1"), {
        ...token,
        usedAt,
        successorId: "token-2",
        sealedSuccessor: 'sealed\'s "text"',
      });
      assert.deepEqual(await store.get("token-2"), successor);
    }),

    testCase(
      "rotate returns false for a token that is used, revoked or unknown, and inserts nothing",
      async (store) => {
        const now = Date.now();
        await store.insert(
          sampleToken({ id: "used", familyId: "f1", usedAt: now, successorId: "x", sealedSuccessor: "y" }),
        );
        await store.insert(sampleToken({ id: "revoked", familyId: "f2", revokedAt: now }));
        for (const [id, familyId] of [
          ["used", "f1"],
          ["revoked", "f2"],
          ["unknown", "f3"],
          ...UNSTORABLE_TEXTS.map((text) => [text, "f1"] as const),
        ] as const) {
          const before = await store.get(id);
          assert.equal(await store.rotate(id, now, sampleToken({ id: "next", familyId }), "sealed"), false, id);
          assert.equal(await store.get("next"), undefined, id);
          assert.deepEqual(await store.get(id), before);
        }
      },
    ),

    testCase("rotate rejects a successor whose id exists, and the token stays unused", async (store) => {
      const token = sampleToken();
      await store.insert(token);
      await store.insert(sampleToken({ id: "token-2", subject: "user-2", familyId: "family-2" }));
      await assert.rejects(async () => store.rotate("token-1", Date.now(), sampleToken({ id: "token-2" }), "sealed"));
      assert.deepEqual(await store.get("token-1"), token);
      assert.equal((await store.get("token-2"))?.subject, "user-2");
      assert.equal(await store.rotate("token-1", Date.now(), sampleToken({ id: "token-3" }), "sealed"), true);
    }),

    testCase("markUndelivered: marks a token with this successor, and no other token", async (store) => {
      if (store.markUndelivered === undefined) return;
      const at = Date.now();
      await store.insert(sampleToken());
      await store.markUndelivered("token-1", "token-2", at);
      assert.equal((await store.get("token-1"))?.undeliveredAt, null);
      await store.rotate("token-1", at, sampleToken({ id: "token-2" }), "sealed");
      for (const other of ["token-3", "", ...UNSTORABLE_TEXTS]) await store.markUndelivered("token-1", other, at);
      for (const unknown of ["token-3", ...UNSTORABLE_TEXTS]) await store.markUndelivered(unknown, "token-2", at);
      assert.equal((await store.get("token-1"))?.undeliveredAt, null);
      await store.markUndelivered("token-1", "token-2", at);
      assert.equal((await store.get("token-1"))?.undeliveredAt, at);
      assert.equal((await store.get("token-2"))?.undeliveredAt, null);
    }),

    testCase(
      "of twenty concurrent calls of rotate exactly one returns true, and only its successor exists",
      async (store) => {
        await store.insert(sampleToken());
        const count = await countTrue(20, (index) =>
          store.rotate("token-1", Date.now(), sampleToken({ id: `next-${index}` }), `sealed-${index}`),
        );
        assert.equal(count, 1);
        const token = await store.get("token-1");
        const present: string[] = [];
        for (let index = 0; index < 20; index += 1)
          if ((await store.get(`next-${index}`)) !== undefined) present.push(`next-${index}`);
        assert.deepEqual(present, [token?.successorId]);
        assert.equal(token?.sealedSuccessor, `sealed-${present[0]?.slice("next-".length)}`);
      },
    ),
  ];
}
