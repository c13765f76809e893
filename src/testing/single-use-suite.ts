import assert from "node:assert/strict";
import type { SingleUseRecord, SingleUseStore } from "../stores/contracts.js";
import { AWKWARD_TEXTS, caseWith, type ConformanceCase, initialized, UNSTORABLE_TEXTS } from "./conformance.js";
import { recordId, sampleRecord } from "./credential-samples.js";
import { isInput } from "./name-cases.js";
import { patientCall, refusesOverdue } from "./write-calls.js";

type SingleUseCase = (name: string, check: (store: SingleUseStore) => Promise<void>) => ConformanceCase;

const MANY = 100;

/**
 * The checks of a `SingleUseStore`, for any test runner: a record comes back as it was put, once, and not after its end.
 *
 * @param makeStore gives an empty store that is not yet initialised, on the machine's clock; its `close` is called when
 *   the case is over
 *
 * @example
 * ```ts
 * import { test } from "node:test";
 * import { type SingleUseStore } from "portcullis/accounts";
 * import { singleUseStoreConformance } from "portcullis/testing";
 *
 * function checkSingleUseStore(makeStore: () => SingleUseStore): void {
 *   for (const { name, run } of singleUseStoreConformance(makeStore)) test(name, run);
 * }
 * ```
 */
export function singleUseStoreConformance(
  makeStore: () => SingleUseStore | Promise<SingleUseStore>,
): ConformanceCase[] {
  const testCase: SingleUseCase = (name, check) => caseWith(() => initialized(makeStore), name, check);
  return [...recordCases(testCase), ...boundCases(testCase), ...raceCases(testCase)];
}

function recordCases(testCase: SingleUseCase): ConformanceCase[] {
  return [
    testCase("a record comes back as it was put, until it is taken; init may be called again", async (store) => {
      const now = Date.now();
      const one = sampleRecord("one");
      await store.put(one, patientCall());
      await store.init();
      assert.deepEqual(await store.get("log-in", one.id, now), one);
      assert.deepEqual(await store.get("log-in", one.id, now), one);
      assert.deepEqual(await store.take("log-in", one.id, now, patientCall()), one);
      assert.equal(await store.get("log-in", one.id, now), undefined);
      assert.equal(await store.take("log-in", one.id, now), undefined);
    }),

    testCase("a record of another kind or id is not found, and stays", async (store) => {
      const now = Date.now();
      const one = sampleRecord("one");
      await store.put(one);
      const others: [string, string][] = [
        ...["challenge", "LOG-IN", "", ...UNSTORABLE_TEXTS].map((kind): [string, string] => [kind, one.id]),
        ...["", "one", recordId("One"), `${one.id} `, "' or '1'='1", ...UNSTORABLE_TEXTS].map(
          (id): [string, string] => ["log-in", id],
        ),
      ];
      for (const [kind, id] of others) {
        assert.equal(await store.get(kind, id, now), undefined, JSON.stringify([kind, id]));
        assert.equal(await store.take(kind, id, now), undefined, JSON.stringify([kind, id]));
      }
      assert.deepEqual(await store.take("log-in", one.id, now), one);
    }),

    testCase("at its end a record is gone for get and take", async (store) => {
      const one = sampleRecord("one");
      await store.put(one);
      assert.deepEqual(await store.get("log-in", one.id, one.expiresAt - 1), one);
      for (const now of [one.expiresAt, one.expiresAt + 1]) {
        assert.equal(await store.get("log-in", one.id, now), undefined);
        assert.equal(await store.take("log-in", one.id, now), undefined);
      }
    }),

    testCase("put rejects an id that exists, and the first record stays", async (store) => {
      const one = sampleRecord("one");
      await store.put(one);
      await assert.rejects(store.put(sampleRecord("one", { ownerId: "mallory", data: {} })));
      assert.deepEqual(await store.take("log-in", one.id, Date.now()), one);
    }),

    testCase("owners and data return any text as it was put", async (store) => {
      const data = JSON.parse(
        '{"__proto__":{"admin":true},"constructor":1,"nul":"a\\u0000b"}',
      ) as SingleUseRecord["data"];
      for (const [index, text] of [...AWKWARD_TEXTS, "語".repeat(255)].entries()) {
        if (text === "") continue;
        const one = sampleRecord(`n${index}`, { ownerId: text, data: { ...data, [text]: [text] } });
        await store.put(one);
        assert.deepEqual(await store.take("log-in", one.id, Date.now()), one);
      }
    }),

    testCase(
      "values that not every engine can store are refused as invalid input, and nothing is stored",
      async (store) => {
        const wrong: Partial<SingleUseRecord>[] = [
          ...["", "x".repeat(42), "x".repeat(44), "x".repeat(42).concat(" "), ...UNSTORABLE_TEXTS].map((id) => ({
            id,
          })),
          ...["", "x".repeat(33), "Login", ...UNSTORABLE_TEXTS].map((kind) => ({ kind })),
          ...["", "x".repeat(256), ...UNSTORABLE_TEXTS].map((ownerId) => ({ ownerId })),
          ...[2 ** 53, 1.5, Number.NaN].map((expiresAt) => ({ expiresAt })),
          { data: { long: "x".repeat(8192) } },
        ];
        for (const change of wrong)
          await assert.rejects(store.put(sampleRecord("one", change)), isInput, JSON.stringify(change).slice(0, 50));
        assert.equal(await store.get("log-in", recordId("one"), Date.now()), undefined);
        const longest = sampleRecord("one", { data: { t: "x".repeat(8184) } });
        await store.put(longest);
        assert.deepEqual(await store.get("log-in", longest.id, Date.now()), longest);
      },
    ),

    testCase("put and take past the deadline of their call commit nothing", async (store) => {
      const one = sampleRecord("one");
      await refusesOverdue((call) => store.put(one, call));
      assert.equal(await store.get("log-in", one.id, Date.now()), undefined);
      await store.put(one);
      await refusesOverdue((call) => store.take("log-in", one.id, Date.now(), call));
      assert.deepEqual(await store.take("log-in", one.id, Date.now()), one);
    }),
  ];
}

function boundCases(testCase: SingleUseCase): ConformanceCase[] {
  const found = async (store: SingleUseStore, names: readonly string[], kind = "log-in"): Promise<string[]> => {
    const there: string[] = [];
    for (const name of names) if ((await store.get(kind, recordId(name), Date.now())) !== undefined) there.push(name);
    return there;
  };
  return [
    testCase(
      "one more than ten of a person and kind ends the one that would end first, and no other's",
      async (store) => {
        const end = Date.now() + 600_000;
        const names = Array.from({ length: 12 }, (_, n) => `n${n}`);
        await store.put(sampleRecord("challenge", { kind: "challenge", expiresAt: end - 1 }));
        await store.put(sampleRecord("bob", { ownerId: "user-2", expiresAt: end - 1 }));
        for (const [n, name] of names.entries()) await store.put(sampleRecord(name, { expiresAt: end + n * 1000 }));
        assert.deepEqual(await found(store, names), names.slice(2));
        assert.deepEqual(await found(store, ["bob"]), ["bob"]);
        assert.deepEqual(await found(store, ["challenge"], "challenge"), ["challenge"]);
        // The new one is not the one that gives way.
        await store.put(sampleRecord("soon", { expiresAt: end }));
        assert.deepEqual(await found(store, [...names, "soon"]), [...names.slice(3), "soon"]);
        // One that was used makes room.
        assert.notEqual(await store.take("log-in", recordId("n5"), Date.now()), undefined);
        await store.put(sampleRecord("next", { expiresAt: end + 20_000 }));
        assert.deepEqual(await found(store, [...names, "soon", "next"]), [
          ...names.slice(3).filter((name) => name !== "n5"),
          "soon",
          "next",
        ]);
      },
    ),

    testCase("deleteExpired removes only what has expired", async (store) => {
      const now = Date.now();
      await store.put(sampleRecord("first", { expiresAt: now + 300_000 }));
      await store.put(sampleRecord("second", { expiresAt: now + 600_000 }));
      const deleted = await store.deleteExpired(now + 300_000);
      assert.deepEqual(await found(store, ["first", "second"]), deleted === 1 ? ["second"] : ["first", "second"]);
      assert.ok(deleted === 0 || deleted === 1);
      assert.equal(await store.deleteExpired(now), 0);
    }),
  ];
}

function raceCases(testCase: SingleUseCase): ConformanceCase[] {
  return [
    testCase("of a hundred concurrent calls of take exactly one gets the record", async (store) => {
      for (const name of ["one", "two", "three"]) {
        const one = sampleRecord(name);
        await store.put(one);
        const taken = await Promise.all(Array.from({ length: MANY }, () => store.take("log-in", one.id, Date.now())));
        assert.deepEqual(
          taken.filter((record) => record !== undefined),
          [one],
        );
      }
    }),

    testCase("of twenty concurrent calls of put with one id exactly one resolves", async (store) => {
      const put = await Promise.allSettled(
        Array.from({ length: 20 }, (_, n) => store.put(sampleRecord("one", { ownerId: `user-${n}` }))),
      );
      const winner = put.findIndex(({ status }) => status === "fulfilled");
      assert.equal(put.filter(({ status }) => status === "fulfilled").length, 1);
      assert.equal((await store.get("log-in", recordId("one"), Date.now()))?.ownerId, `user-${winner}`);
    }),
  ];
}
