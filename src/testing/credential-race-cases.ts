import assert from "node:assert/strict";
import { type ConformanceCase, countTrue } from "./conformance.js";
import { type CredentialCase, insertAll, sampleCredential } from "./credential-samples.js";

const MANY = 100;
const ID = "credential-1";

/** The checks of calls that run at once: a code, a link, a recovery code is used once. */
export function credentialRaceCases(testCase: CredentialCase): ConformanceCase[] {
  return [
    testCase("of a hundred concurrent changes that remove one credential exactly one returns true", async (store) => {
      await insertAll(store, sampleCredential());
      const made = (n: number) => sampleCredential({ id: `made-${n}`, kind: "session" });
      const wins = await countTrue(MANY, (n) => store.change("user-1", { remove: [ID], insert: [made(n)] }));
      assert.equal(wins, 1);
      assert.equal((await store.listOf("user-1")).length, 1);
    }),

    testCase("of a hundred concurrent changes that update one version exactly one returns true", async (store) => {
      await insertAll(store, sampleCredential());
      const wins = await countTrue(MANY, (n) =>
        store.change("user-1", { update: [{ id: ID, version: 3, data: { by: n } }] }),
      );
      assert.equal(wins, 1);
      assert.equal((await store.listOf("user-1"))[0]?.version, 4);
    }),

    testCase("of a hundred concurrent calls of advance with one value exactly one returns true", async (store) => {
      await insertAll(store, sampleCredential({ counter: 9 }));
      assert.equal(await countTrue(MANY, (n) => store.advance(ID, 10, n)), 1);
      assert.equal((await store.listOf("user-1"))[0]?.counter, 10);
    }),

    testCase("of a hundred persons who insert one name at once exactly one returns true", async (store) => {
      const named = (n: number) => sampleCredential({ id: `id-${n}`, ownerId: `user-${n}`, name: "one name" });
      assert.equal(await countTrue(MANY, (n) => store.change(`user-${n}`, { insert: [named(n)] })), 1);
      const winner = await store.find("totp", "one name");
      assert.deepEqual(await store.listOf(winner?.ownerId ?? ""), [winner]);
    }),

    testCase("a hundred concurrent failures add a hundred, each with another number", async (store) => {
      await insertAll(store, sampleCredential({ failures: 0 }));
      const counts = await Promise.all(Array.from({ length: MANY }, () => store.addFailure(ID)));
      assert.deepEqual(
        counts.map(Number).sort((a, b) => a - b),
        Array.from({ length: MANY }, (_, n) => n + 1),
      );
    }),

    testCase("concurrent changes of one person never leave more than 100 credentials", async (store) => {
      const own = (n: number) => sampleCredential({ id: `n${n}` });
      await store.change("user-1", { insert: Array.from({ length: 90 }, (_, n) => own(n)) });
      const wins = await countTrue(20, (n) => store.change("user-1", { insert: [own(100 + n)] }).catch(() => false));
      assert.equal(wins, 10);
      assert.equal((await store.listOf("user-1")).length, 100);
    }),
  ];
}
