import assert from "node:assert/strict";
import type { CredentialStore, StoredCredential } from "../stores/contracts.js";
import { AWKWARD_TEXTS, caseWith, type ConformanceCase, initialized, UNSTORABLE_TEXTS } from "./conformance.js";
import { credentialChangeCases } from "./credential-change-cases.js";
import { credentialCounterCases } from "./credential-counter-cases.js";
import { credentialRaceCases } from "./credential-race-cases.js";
import { type CredentialCase, insertAll, sampleCredential } from "./credential-samples.js";
import { isInput } from "./name-cases.js";

/**
 * The checks of a `CredentialStore`, for any test runner: credentials that come back as they were stored, changes that
 * happen as a whole or not at all, and exactly one winner among calls that run at once.
 *
 * @param makeStore gives an empty store that is not yet initialised, on the machine's clock; its `close` is called when
 *   the case is over
 *
 * @example
 * ```ts
 * import { test } from "node:test";
 * import { type CredentialStore } from "portcullis/accounts";
 * import { credentialStoreConformance } from "portcullis/testing";
 *
 * function checkCredentialStore(makeStore: () => CredentialStore): void {
 *   for (const { name, run } of credentialStoreConformance(makeStore)) test(name, run);
 * }
 * ```
 */
export function credentialStoreConformance(
  makeStore: () => CredentialStore | Promise<CredentialStore>,
): ConformanceCase[] {
  const testCase: CredentialCase = (name, check) => caseWith(() => initialized(makeStore), name, check);
  return [
    ...recordCases(testCase),
    ...credentialChangeCases(testCase),
    ...credentialCounterCases(testCase),
    ...credentialRaceCases(testCase),
  ];
}

function recordCases(testCase: CredentialCase): ConformanceCase[] {
  return [
    testCase("init may be called again, and loses nothing", async (store) => {
      await insertAll(store, sampleCredential());
      await store.init();
      assert.deepEqual(await store.listOf("user-1"), [sampleCredential()]);
    }),

    testCase("listOf and find return every member as inserted, and nothing for others", async (store) => {
      const one = sampleCredential();
      await insertAll(store, one);
      assert.deepEqual(await store.listOf("user-1"), [one]);
      assert.deepEqual(await store.find("totp", one.name), one);
      for (const other of ["", "user-2", "USER-1", "user-1 ", "__proto__", "' or '1'='1", ...UNSTORABLE_TEXTS]) {
        assert.deepEqual(await store.listOf(other), [], JSON.stringify(other));
        assert.equal(await store.find("totp", other), undefined, JSON.stringify(other));
        assert.equal(await store.find(other, one.name), undefined, JSON.stringify(other));
      }
      assert.equal(await store.find("password", one.name), undefined);
      for (const other of [one.name.toUpperCase(), `${one.name} `, ` ${one.name}`])
        assert.equal(await store.find("totp", other), undefined, JSON.stringify(other));
    }),

    testCase("listOf is in the order of createdAt and id, and has expired credentials too", async (store) => {
      const made = (id: string, createdAt: number) => sampleCredential({ id, createdAt, expiresAt: createdAt + 1 });
      await insertAll(store, made("c", 2), made("B", 2), made("a", 3), made("z", 1));
      assert.deepEqual(
        (await store.listOf("user-1")).map(({ id }) => id),
        ["z", "B", "c", "a"],
      );
      assert.deepEqual(await store.find("totp", "name of z"), made("z", 1));
    }),

    testCase("names and owners return any text as it was inserted, and each is another one", async (store) => {
      const texts = AWKWARD_TEXTS.filter((text) => text !== "");
      const all = texts.map((text, index) => sampleCredential({ id: `c${index}`, ownerId: text, name: text }));
      for (const text of [...texts, "語".repeat(255)]) {
        const data = { [text]: text, list: [text, { [text]: [text] }] };
        const own = sampleCredential({ id: `own-${texts.indexOf(text)}`, kind: "own", name: text, data });
        await insertAll(store, own);
        assert.deepEqual(await store.find("own", text), own);
      }
      await insertAll(store, ...all);
      for (const one of all) {
        assert.deepEqual(await store.listOf(one.ownerId), [one]);
        assert.deepEqual(await store.find("totp", one.name), one);
      }
    }),

    testCase("data with keys of Object.prototype are data; text that needs escapes comes back", async (store) => {
      const data = JSON.parse(
        '{"__proto__":{"admin":true},"constructor":1,"nul":"a\\u0000b"}',
      ) as StoredCredential["data"];
      await insertAll(store, sampleCredential({ data }));
      const given = (await store.find("totp", "name of credential-1"))?.data;
      assert.equal(JSON.stringify(given), JSON.stringify(data));
      assert.equal((given as { admin?: unknown }).admin, undefined);
    }),

    testCase("numbers up to 2^53-1 are exact, and null stays null", async (store) => {
      const most = Number.MAX_SAFE_INTEGER;
      const times = { createdAt: most - 3, confirmedAt: most - 2, usedAt: most - 1, expiresAt: most };
      const one = sampleCredential({ ...times, counter: most, failures: most - 5, version: most - 6 });
      const none = sampleCredential({
        id: "none",
        confirmedAt: null,
        usedAt: null,
        counter: -1,
        failures: 0,
        version: 0,
      });
      await insertAll(store, none, one);
      assert.deepEqual(await store.listOf("user-1"), [none, one]);
    }),

    testCase(
      "values that not every engine can store are refused as invalid input, and nothing is stored",
      async (store) => {
        const wrong: Partial<StoredCredential>[] = [
          ...["", "x".repeat(65), "a b", "a.b", ...UNSTORABLE_TEXTS].map((id) => ({ id })),
          ...["", "x".repeat(33), "Totp", "a_b", ...UNSTORABLE_TEXTS].map((kind) => ({ kind })),
          ...["", "x".repeat(256), "語".repeat(256), ...UNSTORABLE_TEXTS].map((name) => ({ name })),
          ...[2 ** 53, 1.5, Number.NaN].flatMap((n) => [
            { createdAt: n },
            { usedAt: n },
            { expiresAt: n },
            { counter: n },
          ]),
          { data: { long: "x".repeat(8192) } },
          { data: { long: "語".repeat(2731) } },
        ];
        for (const change of wrong) {
          const one = sampleCredential({ name: "n", ...change });
          await assert.rejects(store.change("user-1", { insert: [one] }), isInput, JSON.stringify(change).slice(0, 50));
        }
        for (const ownerId of ["", "x".repeat(256), ...UNSTORABLE_TEXTS])
          await assert.rejects(store.change(ownerId, { insert: [sampleCredential({ ownerId })] }), isInput);
        await assert.rejects(store.change("user-2", { insert: [sampleCredential()] }), isInput);
        assert.deepEqual(await store.listOf("user-1"), []);
        const longest = sampleCredential({ id: "x".repeat(64), kind: "k".repeat(32), data: { t: "x".repeat(8184) } });
        await insertAll(store, longest);
        assert.deepEqual(await store.listOf("user-1"), [longest]);
      },
    ),

    testCase("changing an object that was passed in or returned does not change what is stored", async (store) => {
      const list = ["read"];
      await insertAll(store, sampleCredential({ data: { list } }));
      list.push("admin");
      const given = await store.find("totp", "name of credential-1");
      for (const tamper of [
        () => (given?.data as { list: string[] }).list.push("admin"),
        () => Object.assign(given ?? {}, { ownerId: "mallory" }),
      ]) {
        try {
          tamper();
        } catch (error) {
          assert.ok(error instanceof TypeError);
        }
      }
      assert.deepEqual(await store.listOf("user-1"), [sampleCredential({ data: { list: ["read"] } })]);
    }),
  ];
}
