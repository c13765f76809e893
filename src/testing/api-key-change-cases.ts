import assert from "node:assert/strict";
import type { ApiKeyStore, KeyDigest } from "../stores/contracts.js";
import { caseWith, countTrue, initialized, UNSTORABLE_TEXTS, type ConformanceCase } from "./conformance.js";
import { sampleKey } from "./samples.js";

const AT = 1_767_300_000_000;

/** The checks of what changes a key: revoke, rotate, replaceHash, addUsage. */
export function apiKeyChangeCases(makeStore: () => ApiKeyStore | Promise<ApiKeyStore>): ConformanceCase[] {
  const testCase = (name: string, check: (store: ApiKeyStore) => Promise<void>) =>
    caseWith(
      () => initialized(makeStore),
      name,
      async (store) => {
        await store.insert(sampleKey());
        await check(store);
      },
    );
  return [
    testCase("revoke returns true once, is permanent and changes nothing else", async (store) => {
      assert.equal(await store.revoke("key-1", AT, 'it\'s "leaked"'), true);
      const revoked = sampleKey({ revokedAt: AT, revokedReason: 'it\'s "leaked"' });
      assert.deepEqual(await store.get("key-1"), revoked);
      assert.equal(await store.revoke("key-1", AT + 1, "again"), false);
      assert.deepEqual(await store.get("key-1"), revoked);
      for (const id of ["key-2", "", ...UNSTORABLE_TEXTS]) assert.equal(await store.revoke(id, AT, "x"), false);
    }),

    testCase("of ten concurrent calls of revoke exactly one returns true, and its reason is kept", async (store) => {
      const results = await Promise.all(
        Array.from({ length: 10 }, (_, index) => store.revoke("key-1", AT + index, `by ${index}`)),
      );
      const winner = results.indexOf(true);
      assert.equal(results.filter(Boolean).length, 1);
      const key = await store.get("key-1");
      assert.equal(key?.revokedAt, AT + winner);
      assert.equal(key.revokedReason, `by ${winner}`);
    }),

    testCase("revoke ends the keys that descend from the key, with one mark, and no others", async (store) => {
      await store.insert(sampleKey({ id: "child", madeBy: "key-1", lineage: "key-1", path: ["key-1"] }));
      await store.insert(sampleKey({ id: "grandchild", madeBy: "child", lineage: "key-1", path: ["key-1", "child"] }));
      await store.insert(sampleKey({ id: "other" }));
      assert.equal((await store.get("grandchild"))?.revokedAt, null);
      assert.equal(await store.revoke("key-1", AT, "leaked"), true);
      for (const id of ["child", "grandchild"]) {
        const key = await store.get(id);
        assert.deepEqual([key?.revokedAt, key?.revokedReason], [AT, "maker-ended"]);
      }
      await store.insert(sampleKey({ id: "late", madeBy: "child", path: ["key-1", "child"] }));
      assert.equal((await store.get("late"))?.revokedAt, AT);
      assert.equal((await store.get("other"))?.revokedAt, null);
      const ended = (await store.list("owner", { limit: 10 })).filter(({ revokedAt }) => revokedAt === AT);
      assert.deepEqual(ended.map(({ id }) => id).sort(), ["child", "grandchild", "key-1", "late"]);
    }),

    testCase(
      "revoke of a rotated key ends neither its successor nor its children, unless descendants are included",
      async (store) => {
        await store.insert(sampleKey({ id: "child", madeBy: "key-1", path: ["key-1"] }));
        await store.rotate("key-1", sampleKey({ id: "key-2", firstId: "key-1", lineage: "key-1" }), AT);
        assert.equal(await store.revoke("key-1", AT, "leaked"), true);
        for (const id of ["key-2", "child"]) assert.equal((await store.get(id))?.revokedAt, null);
        assert.equal(await store.revoke("key-1", AT + 1, "leaked", true), true);
        for (const id of ["key-2", "child"]) assert.equal((await store.get(id))?.revokedAt, AT + 1);
        assert.equal(await store.revoke("key-1", AT + 2, "leaked", true), false);
      },
    ),

    testCase("revoke of the last key of a line ends the rotated keys that are in their grace period", async (store) => {
      for (const descendants of [false, true]) {
        const [first, second, third] = ["first", "second", "third"].map((name) => `${name} ${descendants}`) as [
          string,
          string,
          string,
        ];
        await store.insert(sampleKey({ id: first }));
        await store.rotate(first, sampleKey({ id: second, firstId: first }), AT + 60_000);
        await store.rotate(second, sampleKey({ id: third, firstId: first }), AT + 60_000);
        for (const id of [first, second, third]) assert.equal((await store.get(id))?.revokedAt, null);
        assert.equal(await store.revoke(third, AT, "leaked", descendants), true);
        for (const id of [first, second]) {
          const key = await store.get(id);
          assert.deepEqual([key?.revokedAt, key?.revokedReason], [AT, "maker-ended"], id);
        }
        const listed = (await store.list("owner", { limit: 10 })).filter(({ firstId }) => firstId === first);
        assert.deepEqual(
          listed.map(({ revokedAt }) => revokedAt),
          [AT, AT, AT],
        );
        await store.insert(sampleKey({ id: `made with ${first}`, madeBy: first, path: [first] }));
        assert.equal((await store.get(`made with ${first}`))?.revokedAt, AT);
      }
    }),

    testCase("rotate: inserts the successor and marks the old key", async (store) => {
      const successor = sampleKey({ id: "key-2", createdAt: AT });
      assert.equal(await store.rotate("key-1", successor, AT + 60_000), true);
      assert.deepEqual(await store.get("key-1"), sampleKey({ rotatedTo: "key-2", graceUntil: AT + 60_000 }));
      assert.deepEqual(await store.get("key-2"), successor);
      assert.deepEqual(await store.list("owner", { limit: 10 }), [
        successor,
        sampleKey({ rotatedTo: "key-2", graceUntil: AT + 60_000 }),
      ]);
    }),

    testCase(
      "rotate returns false for a key that is revoked, rotated or unknown, and inserts nothing",
      async (store) => {
        await store.insert(sampleKey({ id: "revoked", revokedAt: AT, revokedReason: "gone" }));
        await store.insert(sampleKey({ id: "rotated", rotatedTo: "key-1", graceUntil: AT }));
        for (const id of ["revoked", "rotated", "unknown", ...UNSTORABLE_TEXTS]) {
          const before = await store.get(id);
          assert.equal(await store.rotate(id, sampleKey({ id: "key-2" }), AT), false, id);
          assert.equal(await store.get("key-2"), undefined, id);
          assert.deepEqual(await store.get(id), before);
        }
      },
    ),

    testCase("rotate rejects a successor whose id exists, and does not change the old key", async (store) => {
      await store.insert(sampleKey({ id: "key-2", name: "taken" }));
      await assert.rejects(async () => store.rotate("key-1", sampleKey({ id: "key-2" }), AT));
      assert.deepEqual(await store.get("key-1"), sampleKey());
      assert.equal((await store.get("key-2"))?.name, "taken");
      // The failed call left no lock behind.
      assert.equal(await store.rotate("key-1", sampleKey({ id: "key-3" }), AT), true);
    }),

    testCase(
      "of twenty concurrent calls of rotate exactly one returns true, and only its successor exists",
      async (store) => {
        const wins: number[] = [];
        const count = await countTrue(20, async (index) => {
          const won = await store.rotate("key-1", sampleKey({ id: `next-${index}` }), AT + index);
          if (won) wins.push(index);
          return won;
        });
        assert.equal(count, 1);
        const key = await store.get("key-1");
        assert.equal(key?.rotatedTo, `next-${wins[0]}`);
        assert.equal(key.graceUntil, AT + (wins[0] ?? 0));
        assert.equal((await store.list("owner", { limit: 100 })).length, 2);
      },
    ),

    testCase("a rotated key can be revoked, and its successor rotated on", async (store) => {
      await store.rotate("key-1", sampleKey({ id: "key-2" }), AT);
      assert.equal(await store.revoke("key-1", AT, "cut short"), true);
      const old = await store.get("key-1");
      assert.deepEqual([old?.revokedAt, old?.rotatedTo, old?.graceUntil], [AT, "key-2", AT]);
      assert.equal(await store.rotate("key-2", sampleKey({ id: "key-3" }), AT), true);
      assert.equal((await store.get("key-2"))?.rotatedTo, "key-3");
    }),

    testCase(
      "concurrent revoke and rotate leave the key revoked, and the successor exists exactly if rotate returned true",
      async (store) => {
        for (let round = 0; round < 10; round += 1) {
          await store.insert(sampleKey({ id: `old-${round}` }));
          const calls = [
            () => store.revoke(`old-${round}`, AT, "race"),
            () => store.rotate(`old-${round}`, sampleKey({ id: `new-${round}` }), AT),
          ];
          if (round % 2 === 1) calls.reverse();
          const results = await Promise.all(calls.map((call) => call()));
          const [revoked, rotated] = round % 2 === 1 ? results.reverse() : results;
          const key = await store.get(`old-${round}`);
          assert.equal(revoked, true);
          assert.equal(key?.revokedAt, AT);
          assert.equal(key.rotatedTo, rotated ? `new-${round}` : null);
          assert.equal((await store.get(`new-${round}`)) !== undefined, rotated);
        }
      },
    ),

    testCase(
      "replaceHash replaces the digest only if it is still the given one, and changes nothing else",
      async (store) => {
        const from = sampleKey().hash;
        const to: KeyDigest = { algorithm: "hmac-sha256", digest: "pepper1.it's" };
        assert.equal(await store.replaceHash("key-1", { ...from, digest: "other" }, to), false);
        assert.equal(await store.replaceHash("key-1", { ...from, algorithm: "hmac-sha256" }, to), false);
        assert.equal(await store.replaceHash("key-2", from, to), false);
        assert.deepEqual(await store.get("key-1"), sampleKey());
        assert.equal(await store.replaceHash("key-1", from, to), true);
        assert.deepEqual(await store.get("key-1"), sampleKey({ hash: to }));
        assert.equal(await store.replaceHash("key-1", from, to), false);
        assert.equal(
          await countTrue(8, (index) => store.replaceHash("key-1", to, { ...from, digest: `d${index}` })),
          1,
        );
      },
    ),

    testCase("addUsage adds counts, and moves lastUsedAt only forward", async (store) => {
      await store.addUsage([]);
      await store.addUsage([{ id: "key-1", count: 4, lastUsedAt: AT }]);
      assert.deepEqual(await store.get("key-1"), sampleKey({ usageCount: 7, lastUsedAt: AT }));
      await store.addUsage([{ id: "key-1", count: 1, lastUsedAt: AT - 1 }]);
      assert.deepEqual(await store.get("key-1"), sampleKey({ usageCount: 8, lastUsedAt: AT }));
      await store.addUsage([{ id: "key-1", count: 0, lastUsedAt: AT + 1 }]);
      assert.deepEqual(await store.get("key-1"), sampleKey({ usageCount: 8, lastUsedAt: AT + 1 }));
    }),

    testCase("addUsage: sets lastUsedAt of a key that was never used", async (store) => {
      await store.insert(sampleKey({ id: "unused", usageCount: 0, lastUsedAt: null }));
      await store.addUsage([{ id: "unused", count: 1, lastUsedAt: 5 }]);
      assert.deepEqual(await store.get("unused"), sampleKey({ id: "unused", usageCount: 1, lastUsedAt: 5 }));
    }),

    testCase("addUsage ignores unknown ids and counts the others, also a key that occurs twice", async (store) => {
      await store.insert(sampleKey({ id: "__proto__" }));
      await store.addUsage([
        { id: "unknown", count: 1, lastUsedAt: AT },
        { id: "__proto__", count: 1, lastUsedAt: AT },
        ...UNSTORABLE_TEXTS.map((id) => ({ id, count: 1, lastUsedAt: AT })),
        { id: "key-1", count: 2, lastUsedAt: AT + 5 },
        { id: "key-1", count: 3, lastUsedAt: AT },
      ]);
      assert.deepEqual(await store.get("key-1"), sampleKey({ usageCount: 8, lastUsedAt: AT + 5 }));
      assert.equal((await store.get("__proto__"))?.usageCount, 4);
      assert.equal(await store.get("unknown"), undefined);
    }),

    testCase("addUsage loses no count of concurrent batches, and reactivates no revoked key", async (store) => {
      const batches = Array.from({ length: 20 }, (_, index) =>
        store.addUsage([{ id: "key-1", count: 1, lastUsedAt: AT + index }]),
      );
      await Promise.all([...batches, store.revoke("key-1", AT, "race")]);
      assert.deepEqual(
        await store.get("key-1"),
        sampleKey({ usageCount: 23, lastUsedAt: AT + 19, revokedAt: AT, revokedReason: "race" }),
      );
    }),
  ];
}
