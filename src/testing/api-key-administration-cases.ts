import assert from "node:assert/strict";
import type { AllKeysPage, ApiKeyStore, StoredApiKey } from "../stores/contracts.js";
import { caseWith, initialized, UNSTORABLE_TEXTS, type ConformanceCase } from "./conformance.js";
import { sampleKey } from "./samples.js";

const AT = 1_767_300_000_000;
const DAY_MS = 86_400_000;

type WithMethods<Name extends keyof ApiKeyStore> = ApiKeyStore & Required<Pick<ApiKeyStore, Name>>;

/** The checks of the optional methods for administrators: `listAll`, `update` and `revokeAllOf`. */
export function apiKeyAdministrationCases(makeStore: () => ApiKeyStore | Promise<ApiKeyStore>): ConformanceCase[] {
  /** A store without the method has nothing to check. */
  const caseOf =
    <Name extends keyof ApiKeyStore>(method: Name) =>
    (name: string, check: (store: WithMethods<Name>) => Promise<void>): ConformanceCase =>
      caseWith(
        () => initialized(makeStore),
        name,
        async (store) => {
          if (store[method] !== undefined) await check(store as WithMethods<Name>);
        },
      );
  return [
    ...listAllCases(caseOf("listAll")),
    ...updateCases(caseOf("update")),
    ...revokeAllOfCases(caseOf("revokeAllOf")),
  ];
}

type CaseOf<Name extends keyof ApiKeyStore> = (
  name: string,
  check: (store: WithMethods<Name>) => Promise<void>,
) => ConformanceCase;

function listAllCases(testCase: CaseOf<"listAll">): ConformanceCase[] {
  return [
    testCase("listAll returns the keys of all owners, newest first, equal times by descending id", async (store) => {
      await store.insert(sampleKey({ id: "b", createdAt: 100, ownerId: "one" }));
      await store.insert(sampleKey({ id: "d", createdAt: 50, revokedAt: 60, revokedReason: "gone" }));
      await store.insert(sampleKey({ id: "a", createdAt: 100, ownerId: "two" }));
      await store.insert(sampleKey({ id: "e", createdAt: 200, expiresAt: 1 }));
      assert.deepEqual(ids(await store.listAll({ limit: 10 })), ["e", "b", "a", "d"]);
      assert.deepEqual(await store.listAll({ limit: 0 }), []);
      assert.deepEqual(await allPages(store, {}, 1), ["e", "b", "a", "d"]);
      assert.deepEqual((await store.listAll({ limit: 1 }))[0], await store.get("e"));
    }),

    testCase(
      "listAll by expiry: in the range, the first first, without keys that are revoked or replaced",
      async (store) => {
        const at = { from: AT, before: AT + DAY_MS };
        const expiring = (id: string, expiresAt: number | null, more: Partial<StoredApiKey> = {}) =>
          store.insert(sampleKey({ id, expiresAt, ...more }));
        await expiring("late", AT + DAY_MS);
        await expiring("c", AT + 5, { ownerId: "other" });
        await expiring("first", AT);
        await expiring("b", AT + 5);
        await expiring("never", null);
        await expiring("over", AT - 1);
        await expiring("revoked", AT + 6, { revokedAt: 1, revokedReason: "x" });
        await expiring("revoked later", AT + 7);
        await store.revoke("revoked later", AT, "x");
        await expiring("replaced", AT + 8);
        await store.rotate("replaced", sampleKey({ id: "next", firstId: "replaced", expiresAt: AT + 8 }), AT + 1);
        await expiring("child", AT + 9, { path: ["revoked later"] });
        const expected = ["first", "b", "c", "next"];
        for (const size of [1, 2, 3, 4, 5, 20])
          assert.deepEqual(await allPages(store, { expires: at }, size), expected);
      },
    ),

    testCase(
      "listAll by expiry or use: however many keys have ended with their maker, others follow",
      async (store) => {
        await store.insert(sampleKey({ id: "maker", expiresAt: null, createdAt: AT }));
        for (let n = 0; n < 50; n += 1)
          await store.insert(
            sampleKey({ id: `child ${n}`, path: ["maker"], createdAt: AT, lastUsedAt: AT, expiresAt: AT }),
          );
        await store.revoke("maker", AT, "x");
        for (const n of [1, 2, 3, 4])
          await store.insert(sampleKey({ id: `key ${n}`, createdAt: AT, lastUsedAt: AT + n, expiresAt: AT + n }));
        const expected = ["key 1", "key 2", "key 3", "key 4"];
        const expires = { from: AT, before: AT + DAY_MS };
        for (const size of [1, 3]) {
          assert.deepEqual(await allPages(store, { expires }, size), expected);
          assert.deepEqual(await allPages(store, { unusedSince: AT + DAY_MS }, size), expected);
        }
      },
    ),

    testCase(
      "listAll by use: the longest unused first; a key that was never used counts from its creation",
      async (store) => {
        const used = (id: string, lastUsedAt: number | null, more: Partial<StoredApiKey> = {}) =>
          store.insert(sampleKey({ id, lastUsedAt, createdAt: 10, ...more }));
        await used("b", 100);
        await used("new", null, { createdAt: 90 });
        await used("a", 100);
        await used("since", 200);
        await used("expired", 95, { expiresAt: 1 });
        await used("revoked", 96, { revokedAt: 97, revokedReason: "x" });
        const unusedSince = 200;
        const expected = ["new", "expired", "a", "b"];
        for (const size of [1, 2, 3, 20]) assert.deepEqual(await allPages(store, { unusedSince }, size), expected);
        await store.addUsage([{ id: "new", count: 1, lastUsedAt: 150 }]);
        await store.addUsage([{ id: "a", count: 1, lastUsedAt: 300 }]);
        await store.addUsage([{ id: "revoked", count: 1, lastUsedAt: 110 }]);
        assert.deepEqual(await allPages(store, { unusedSince }, 2), ["expired", "b", "new"]);
        assert.deepEqual(await allPages(store, { unusedSince, expires: { from: 2, before: 2 ** 52 } }, 2), [
          "b",
          "new",
        ]);
        // The place of the last page stays, although its key was used or revoked since.
        const page = await store.listAll({ unusedSince, limit: 2 });
        await store.addUsage([{ id: "b", count: 1, lastUsedAt: 400 }]);
        await store.revoke("expired", AT, "unused");
        assert.deepEqual(ids(await store.listAll({ unusedSince, limit: 2, after: page[1] })), ["new"]);
      },
    ),
  ];
}

function updateCases(testCase: CaseOf<"update">): ConformanceCase[] {
  return [
    testCase("rotate returns false when update has changed what the successor repeats", async (store) => {
      const changes = [
        { name: "other" },
        { scopes: ["orders:list"] },
        { roles: [] },
        { allow: ["192.0.2.7"] },
        { rateLimit: { limit: 1, windowSeconds: 7 } },
        { rateLimit: null },
        { metadata: { other: true } },
      ];
      for (const [n, change] of changes.entries()) {
        const id = `changed ${n}`;
        const successor = sampleKey({ id: `${id} next`, firstId: id });
        await store.insert(sampleKey({ id }));
        await store.update(id, change);
        assert.equal(await store.rotate(id, successor, 1), false);
        assert.equal(await store.get(successor.id), undefined);
        assert.equal((await store.get(id))?.rotatedTo, null);
        assert.equal(await store.rotate(id, { ...successor, ...change }, 1), true);
      }
    }),

    testCase("update changes the given fields and no others", async (store) => {
      await store.insert(sampleKey());
      await store.insert(sampleKey({ id: "other" }));
      const change = {
        name: 'it\'s "new"',
        scopes: ["read"],
        roles: [],
        allow: [],
        rateLimit: null,
        metadata: { team: "blue" },
        expiresAt: null,
      } as const;
      assert.equal(await store.update("key-1", { name: change.name }), true);
      assert.deepEqual(await store.get("key-1"), sampleKey({ name: change.name }));
      assert.equal(await store.update("key-1", change), true);
      assert.deepEqual(await store.get("key-1"), sampleKey(change));
      const back = sampleKey();
      assert.equal(
        await store.update("key-1", { rateLimit: back.rateLimit, metadata: {}, expiresAt: back.expiresAt }),
        true,
      );
      assert.deepEqual(
        await store.get("key-1"),
        sampleKey({ ...change, rateLimit: back.rateLimit, metadata: {}, expiresAt: back.expiresAt }),
      );
      assert.deepEqual(await store.get("other"), sampleKey({ id: "other" }));
    }),

    testCase("update returns false for a key that is revoked, replaced, ended by a mark or unknown", async (store) => {
      await store.insert(sampleKey({ id: "revoked", revokedAt: AT, revokedReason: "gone" }));
      await store.insert(sampleKey({ id: "replaced", rotatedTo: "key-1", graceUntil: AT }));
      for (const id of ["revoked", "replaced", "unknown", ...UNSTORABLE_TEXTS]) {
        const before = await store.get(id);
        assert.equal(await store.update(id, { scopes: [] }), false, id);
        assert.deepEqual(await store.get(id), before);
      }
      await store.insert(sampleKey());
      for (const text of UNSTORABLE_TEXTS)
        await assert.rejects(async () => store.update("key-1", { name: text }), JSON.stringify(text));
      assert.deepEqual(await store.get("key-1"), sampleKey());
    }),

    testCase(
      "an earlier expiry holds for the keys made with the line, and is moved by the next update",
      async (store) => {
        await store.insert(sampleKey({ expiresAt: null }));
        await store.insert(sampleKey({ id: "child", path: ["key-1"], expiresAt: null }));
        await store.insert(sampleKey({ id: "short", path: ["key-1", "child"], expiresAt: AT }));
        await store.rotate("key-1", sampleKey({ id: "next", firstId: "key-1", expiresAt: null }), AT);
        const ends = async () =>
          Promise.all(["next", "child", "short"].map(async (id) => (await store.get(id))?.expiresAt));
        assert.deepEqual(await ends(), [null, null, AT]);
        assert.equal(await store.update("next", { expiresAt: AT + 5 }), true);
        assert.deepEqual(await ends(), [AT + 5, AT + 5, AT]);
        const listed = new Map((await store.list("owner", { limit: 10 })).map((key) => [key.id, key.expiresAt]));
        assert.equal(listed.get("child"), AT + 5);
        assert.equal(await store.update("next", { expiresAt: null }), true);
        assert.deepEqual(await ends(), [null, null, AT]);
      },
    ),
  ];
}

function revokeAllOfCases(testCase: CaseOf<"revokeAllOf">): ConformanceCase[] {
  const inForce = async (store: ApiKeyStore, ...names: string[]): Promise<string[]> => {
    const found = await Promise.all(names.map((name) => store.get(name)));
    return names.filter((_, index) => found[index]?.revokedAt === null);
  };
  return [
    testCase("revokeAllOf ends every key of the owner, none of others, and none made later", async (store) => {
      await store.insert(sampleKey());
      await store.insert(sampleKey({ id: "two" }));
      await store.insert(sampleKey({ id: "gone", revokedAt: 5, revokedReason: "before" }));
      await store.insert(sampleKey({ id: "other", ownerId: "Owner" }));
      await store.revokeAllOf("owner", AT, 'it\'s "over"');
      for (const id of ["key-1", "two"]) {
        const key = await store.get(id);
        assert.deepEqual([key?.revokedAt, key?.revokedReason], [AT, 'it\'s "over"']);
        assert.equal(await store.rotate(id, sampleKey({ id: `${id} next` }), AT), false);
        assert.equal(await store.get(`${id} next`), undefined);
        assert.equal(await store.update?.(id, { scopes: [] }), store.update && false);
      }
      assert.deepEqual((await store.get("gone"))?.revokedReason, "before");
      await store.insert(sampleKey({ id: "later" }));
      assert.deepEqual(await inForce(store, "key-1", "two", "gone", "other", "later"), ["other", "later"]);
      const listed = (await store.list("owner", { limit: 10 })).filter(({ revokedAt }) => revokedAt === null);
      assert.deepEqual(ids(listed), ["later"]);
      const all = await store.listAll?.({ limit: 10, unusedSince: 2 ** 52 });
      assert.deepEqual(all && ids(all).sort(), all && ["later", "other"]);
      // The records say so too, once they are written; a later call changes none of them.
      let count = 0;
      await store.writeEndsOf?.("owner", (more) => (count += more) >= 0);
      assert.ok(store.writeEndsOf === undefined || count === 2);
      await store.revokeAllOf("owner", AT + 1, "again");
      assert.deepEqual((await store.get("key-1"))?.revokedAt, AT);
      assert.deepEqual((await store.get("later"))?.revokedAt, AT + 1);
      for (const text of UNSTORABLE_TEXTS) await assert.rejects(async () => store.revokeAllOf(text, AT, "x"));
    }),

    testCase("revokeAllOf ends keys that are made or rotated meanwhile with a key that it ends", async (store) => {
      await store.insert(sampleKey());
      await store.revokeAllOf("owner", AT, "over");
      await store.insert(sampleKey({ id: "child", madeBy: "key-1", path: ["key-1"] }));
      assert.deepEqual(await inForce(store, "child"), []);
      for (let round = 0; round < 10; round += 1) {
        const id = `old-${round}`;
        await store.insert(sampleKey({ id }));
        const calls = [
          () => store.rotate(id, sampleKey({ id: `next-${round}`, firstId: id }), AT),
          () => store.revokeAllOf("owner", AT + round, "race"),
          () => store.insert(sampleKey({ id: `child-${round}`, madeBy: id, path: [id] })),
        ];
        await Promise.all(calls.map((call) => call()));
        assert.deepEqual(await inForce(store, id, `next-${round}`, `child-${round}`), []);
      }
    }),

    testCase("revokeAllOf spares the key to keep, if it is in force and the owner's", async (store) => {
      await store.insert(sampleKey());
      await store.insert(sampleKey({ id: "kept" }));
      await store.insert(sampleKey({ id: "other", ownerId: "other" }));
      await store.revokeAllOf("owner", AT, "over", { keep: "kept" });
      await store.writeEndsOf?.("owner", () => true);
      assert.deepEqual(await inForce(store, "key-1", "kept", "other"), ["kept", "other"]);
      await store.revokeAllOf("owner", AT + 1, "over", { keep: "kept" });
      // Neither a key that an earlier call has ended, nor one of another owner.
      await store.revokeAllOf("other", AT + 1, "over", { keep: "kept" });
      assert.deepEqual(await inForce(store, "key-1", "kept", "other"), ["kept"]);
      assert.equal(await store.rotate("kept", sampleKey({ id: "next", firstId: "kept" }), AT), true);
      assert.deepEqual(await inForce(store, "next"), ["next"]);
      await store.revokeAllOf("owner", AT + 2, "over", { keep: "key-1" });
      await store.writeEndsOf?.("owner", () => true);
      assert.deepEqual(await inForce(store, "key-1", "kept", "next"), []);
    }),

    testCase("a repeated revokeAllOf does nothing when a later one has taken effect", async (store) => {
      await store.insert(sampleKey());
      await store.revokeAllOf("owner", AT, "over");
      await store.insert(sampleKey({ id: "later" }));
      await store.revokeAllOf("owner", AT + 1, "over", { unlessEndedSince: AT });
      assert.deepEqual(await inForce(store, "key-1", "later"), ["later"]);
      await store.revokeAllOf("owner", AT + 1, "over", { unlessEndedSince: AT + 1 });
      assert.deepEqual(await inForce(store, "later"), []);
    }),

    testCase("of concurrent calls of revokeAllOf with one key to keep, none ends it", async (store) => {
      for (const id of ["kept", "a", "b"]) await store.insert(sampleKey({ id }));
      await Promise.all(
        Array.from({ length: 8 }, (_, index) => store.revokeAllOf("owner", AT + index, "over", { keep: "kept" })),
      );
      assert.deepEqual(await inForce(store, "kept", "a", "b"), ["kept"]);
    }),
  ];
}

async function allPages(
  store: WithMethods<"listAll">,
  page: Omit<AllKeysPage, "limit" | "after">,
  limit: number,
): Promise<string[]> {
  const seen: StoredApiKey[] = [];
  for (let count = 0; count < 50; count += 1) {
    const keys = await store.listAll({ ...page, limit, after: seen.at(-1) });
    assert.ok(keys.length <= limit, "a page is longer than asked for");
    seen.push(...keys);
    if (keys.length < limit) return ids(seen);
  }
  return assert.fail("paging does not end");
}

function ids(keys: readonly StoredApiKey[]): string[] {
  return keys.map((key) => key.id);
}
