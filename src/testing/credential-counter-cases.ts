import assert from "node:assert/strict";
import { type ConformanceCase, UNSTORABLE_TEXTS } from "./conformance.js";
import { type CredentialCase, insertAll, sampleCredential } from "./credential-samples.js";
import { isInput } from "./name-cases.js";
import { patientCall, refusesOverdue } from "./write-calls.js";

const ID = "credential-1";
const UNKNOWN = ["unknown", "CREDENTIAL-1", "", "' or '1'='1", ...UNSTORABLE_TEXTS];

/** The checks of the counter and of the failures in a row. */
export function credentialCounterCases(testCase: CredentialCase): ConformanceCase[] {
  return [
    testCase("advance: only to a higher value, sets usedAt, ends the failures and keeps the version", async (store) => {
      const other = sampleCredential({ id: "other" });
      const one = sampleCredential({ counter: -1 });
      await insertAll(store, one, other);
      for (const id of UNKNOWN) assert.equal(await store.advance(id, 100, 5), false, id);
      assert.equal(await store.advance(ID, 100, 5, patientCall()), true);
      for (const counter of [100, 99, -1, 0]) assert.equal(await store.advance(ID, counter, 6), false);
      const used = { ...one, counter: 100, usedAt: 5, failures: 0 };
      assert.deepEqual(await store.listOf("user-1"), [used, other]);
      assert.equal(await store.advance(ID, 101, 7), true);
      assert.deepEqual(await store.listOf("user-1"), [{ ...used, counter: 101, usedAt: 7 }, other]);
      for (const wrong of [2 ** 53, 1.5, Number.NaN]) await assert.rejects(store.advance(ID, wrong, 1), isInput);
    }),

    testCase("failures: counted one by one, taken back by clearFailures, and the version stays", async (store) => {
      const other = sampleCredential({ id: "other" });
      await insertAll(store, sampleCredential({ failures: 0 }), other);
      for (const id of UNKNOWN) {
        assert.equal(await store.addFailure(id), undefined, id);
        await store.clearFailures(id);
      }
      assert.equal(await store.addFailure(ID, patientCall()), 1);
      assert.equal(await store.addFailure(ID), 2);
      assert.deepEqual(await store.listOf("user-1"), [sampleCredential({ failures: 2 }), other]);
      await store.clearFailures(ID, patientCall());
      await store.clearFailures(ID);
      assert.deepEqual(await store.listOf("user-1"), [sampleCredential({ failures: 0 }), other]);
      assert.equal(await store.addFailure(ID), 1);
    }),

    testCase("advance, addFailure and clearFailures past the deadline of their call commit nothing", async (store) => {
      await insertAll(store, sampleCredential());
      await refusesOverdue((call) => store.advance(ID, Number.MAX_SAFE_INTEGER, 1, call));
      await refusesOverdue((call) => store.addFailure(ID, call));
      await refusesOverdue((call) => store.clearFailures(ID, call));
      assert.deepEqual(await store.listOf("user-1"), [sampleCredential()]);
    }),
  ];
}
