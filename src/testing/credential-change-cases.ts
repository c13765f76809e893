import assert from "node:assert/strict";
import type { CredentialChange, CredentialStore } from "../stores/contracts.js";
import { faultOf } from "../stores/health/store-fault.js";
import { type ConformanceCase, UNSTORABLE_TEXTS } from "./conformance.js";
import { type CredentialCase, insertAll, sampleCredential } from "./credential-samples.js";
import { isInput } from "./name-cases.js";
import { patientCall, refusesOverdue } from "./write-calls.js";

/** Three credentials of a person, and one of another. */
const A = sampleCredential({ id: "a", kind: "password", createdAt: 1 });
const B = sampleCredential({ id: "b", createdAt: 2 });
const C = sampleCredential({ id: "c", kind: "recovery-code", createdAt: 3 });
const D = sampleCredential({ id: "d", kind: "recovery-code", createdAt: 4 });
const OTHER = sampleCredential({ id: "other", ownerId: "user-2", kind: "recovery-code" });
const NEW = sampleCredential({ id: "new", createdAt: 5 });

async function filled(store: CredentialStore): Promise<void> {
  await insertAll(store, A, B, C, D, OTHER);
}

/** The checks of a change: all of it or nothing. */
export function credentialChangeCases(testCase: CredentialCase): ConformanceCase[] {
  return [
    testCase("change: removes, removes kinds, updates and inserts, of this person only", async (store) => {
      await filled(store);
      const change: CredentialChange = {
        remove: ["b"],
        removeKinds: ["recovery-code", "unknown"],
        update: [{ id: "a", version: 3, data: { hash: "new" }, confirmedAt: null, usedAt: 9, expiresAt: 99 }],
        insert: [NEW],
      };
      assert.equal(await store.change("user-1", change, patientCall()), true);
      const changed = { ...A, data: { hash: "new" }, confirmedAt: null, usedAt: 9, expiresAt: 99, version: 4 };
      assert.deepEqual(await store.listOf("user-1"), [changed, NEW]);
      assert.deepEqual(await store.listOf("user-2"), [OTHER]);
      assert.equal(await store.change("user-1", { update: [{ id: "a", version: 4, counter: 1, failures: 0 }] }), true);
      assert.deepEqual(await store.find("password", A.name), { ...changed, counter: 1, failures: 0, version: 5 });
      assert.equal(await store.change("user-1", {}), true);
    }),

    testCase("change: when one condition does not hold it returns false, and nothing is changed", async (store) => {
      await filled(store);
      const good: CredentialChange = {
        remove: ["c"],
        removeKinds: ["totp"],
        update: [{ id: "a", version: 3, failures: 0 }],
        insert: [NEW],
      };
      const update = { id: "a", version: 3, failures: 0 };
      const bad: readonly CredentialChange[] = [
        ...["unknown", "other", "C", "c ", "", ...UNSTORABLE_TEXTS].map((id) => ({ ...good, remove: ["c", id] })),
        { ...good, update: [update, { ...update, id: "d", version: 4 }] },
        { ...good, update: [update, update] },
        { ...good, update: [{ ...update, id: "c" }] },
        { ...good, update: [{ ...update, id: "b" }] },
        ...["other", "unknown", ...UNSTORABLE_TEXTS].map((id) => ({ ...good, update: [{ ...update, id }] })),
        { ...good, insert: [NEW, { ...NEW, id: "new-2" }] },
        { ...good, insert: [NEW, { ...NEW, name: "another" }] },
        { ...good, insert: [{ ...NEW, id: "d" }] },
        { ...good, insert: [{ ...NEW, id: "other" }] },
        { ...good, insert: [{ ...NEW, kind: "recovery-code", name: D.name }] },
        { ...good, insert: [{ ...NEW, kind: "recovery-code", name: OTHER.name }] },
      ];
      for (const change of bad) {
        assert.equal(await store.change("user-1", change), false, JSON.stringify(change));
        assert.deepEqual(await store.listOf("user-1"), [A, B, C, D], JSON.stringify(change));
      }
      await assert.rejects(store.change("user-1", { ...good, insert: [{ ...NEW, counter: 1.5 }] }), isInput);
      for (const owner of ["user-2", "user-3", ...UNSTORABLE_TEXTS])
        assert.equal(await store.change(owner, { remove: ["c"] }), false);
      assert.deepEqual(await store.listOf("user-1"), [A, B, C, D]);
      assert.deepEqual(await store.listOf("user-2"), [OTHER]);
      assert.equal(await store.change("user-1", good), true);
      assert.deepEqual(await store.listOf("user-1"), [{ ...A, failures: 0, version: 4 }, D, NEW]);
    }),

    testCase("change: a name that the same change makes free can be used", async (store) => {
      await filled(store);
      const named = { ...NEW, kind: A.kind, name: A.name };
      const insert = [named];
      assert.equal(await store.change("user-1", { insert }), false);
      assert.equal(await store.change("user-1", { remove: ["a"], insert }), true);
      assert.deepEqual(await store.find(A.kind, A.name), named);
      const again = { ...named, id: "again" };
      assert.equal(await store.change("user-1", { removeKinds: [A.kind], insert: [again] }), true);
      assert.deepEqual(await store.find(A.kind, A.name), again);
      assert.deepEqual(await store.listOf("user-1"), [B, C, D, again]);
    }),

    testCase(
      "a person has at most 100 credentials; expired ones give way, and no other person is refused",
      async (store) => {
        const own = (n: number) => sampleCredential({ id: `n${n}`, createdAt: n });
        const ended = sampleCredential({ id: "ended", expiresAt: Date.now() - 1 });
        const insert = Array.from({ length: 99 }, (_, n) => own(n));
        assert.equal(await store.change("user-1", { insert: [...insert, ended] }), true);
        assert.equal((await store.listOf("user-1")).length, 100);
        assert.equal(await store.change("user-1", { insert: [own(99)] }), true);
        assert.equal(await store.find("totp", ended.name), undefined);
        await assert.rejects(store.change("user-1", { insert: [own(100)] }), isShare);
        await assert.rejects(store.change("user-1", { remove: ["n1"], insert: [own(100), own(101)] }), isShare);
        assert.equal((await store.listOf("user-1")).length, 100);
        assert.deepEqual(await store.find("totp", "name of n1"), own(1));
        assert.equal(await store.change("user-1", { remove: ["n1"], insert: [own(100)] }), true);
        await insertAll(store, OTHER);
      },
    ),

    testCase("a change past the deadline of its call commits nothing", async (store) => {
      await filled(store);
      const change = { remove: ["c"], update: [{ id: "a", version: 3, failures: 0 }], insert: [NEW] };
      await refusesOverdue((call) => store.change("user-1", change, call));
      assert.deepEqual(await store.listOf("user-1"), [A, B, C, D]);
      assert.equal(await store.change("user-1", change, patientCall()), true);
    }),

    testCase("deleteExpired removes what has expired, and returns how many", async (store) => {
      const ends = (id: string, expiresAt: number | null) => sampleCredential({ id, expiresAt });
      await insertAll(store, ends("past", 1000), ends("now", 2000), ends("next", 2001), ends("never", null));
      assert.equal(await store.deleteExpired(2000), 2);
      assert.deepEqual(
        (await store.listOf("user-1")).map(({ id }) => id),
        ["never", "next"],
      );
      assert.equal(await store.deleteExpired(2000), 0);
      assert.equal(await store.change("user-1", { insert: [ends("again", null)] }), true);
      assert.equal(await store.change("user-1", { update: [{ id: "next", version: 3, expiresAt: null }] }), true);
      assert.equal(await store.deleteExpired(Number.MAX_SAFE_INTEGER), 0);
    }),
  ];
}

function isShare(error: unknown): boolean {
  assert.equal(faultOf(error), "share");
  return true;
}
