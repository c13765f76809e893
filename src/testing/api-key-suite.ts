import assert from "node:assert/strict";
import type { ApiKeyStore, StoredApiKey } from "../stores/contracts.js";
import { apiKeyAdministrationCases } from "./api-key-administration-cases.js";
import { apiKeyChangeCases } from "./api-key-change-cases.js";
import { AWKWARD_TEXTS, caseWith, initialized, UNSTORABLE_TEXTS, type ConformanceCase } from "./conformance.js";
import { keyNameCases } from "./name-cases.js";
import { sampleKey } from "./samples.js";

/**
 * The checks of an `ApiKeyStore`, for any test runner: `for (const { name, run } of apiKeyStoreConformance(make)) test(name, run);`
 *
 * @param makeStore gives an empty store that is not yet initialised; its `close` is called when the case is over
 *
 * @example
 * ```ts
 * import { test } from "node:test";
 * import { type ApiKeyStore } from "portcullis";
 * import { apiKeyStoreConformance } from "portcullis/testing";
 *
 * function checkApiKeyStore(makeStore: () => ApiKeyStore): void {
 *   for (const { name, run } of apiKeyStoreConformance(makeStore)) test(name, run);
 * }
 * ```
 */
export function apiKeyStoreConformance(makeStore: () => ApiKeyStore | Promise<ApiKeyStore>): ConformanceCase[] {
  const testCase = (name: string, check: (store: ApiKeyStore) => Promise<void>) =>
    caseWith(() => initialized(makeStore), name, check);
  return [
    testCase("init may be called again, and loses nothing", async (store) => {
      await store.insert(sampleKey());
      await store.init();
      assert.deepEqual(await store.get("key-1"), sampleKey());
    }),

    testCase("get returns every field as inserted", async (store) => {
      await store.insert(sampleKey());
      assert.deepEqual(await store.get("key-1"), sampleKey());
    }),

    testCase("get of an unknown id is undefined, whatever the id looks like", async (store) => {
      await store.insert(sampleKey());
      for (const id of [
        "key-2",
        "KEY-1",
        "key-1 ",
        "",
        "__proto__",
        "constructor",
        "' or '1'='1",
        ...UNSTORABLE_TEXTS,
      ]) {
        assert.equal(await store.get(id), undefined, JSON.stringify(id));
      }
    }),

    testCase("null fields and empty lists come back as null and empty", async (store) => {
      const bare: StoredApiKey = {
        ...sampleKey(),
        scopes: [],
        roles: [],
        allow: [],
        rateLimit: null,
        metadata: {},
        expiresAt: null,
        revokedAt: null,
        revokedReason: null,
        rotatedTo: null,
        graceUntil: null,
        lastUsedAt: null,
        usageCount: 0,
      };
      await store.insert(bare);
      assert.deepEqual(await store.get("key-1"), bare);
    }),

    testCase("insert rejects an id that exists, and does not change the first key", async (store) => {
      await store.insert(sampleKey());
      await assert.rejects(async () => store.insert(sampleKey({ name: "impostor", ownerId: "mallory" })));
      assert.deepEqual(await store.get("key-1"), sampleKey());
      assert.deepEqual(await store.list("mallory", { limit: 10 }), []);
    }),

    testCase("changing an object that was passed in or returned does not change what is stored", async (store) => {
      const scopes = ["read"];
      const metadata = { team: { name: "red" } };
      await store.insert(sampleKey({ scopes, metadata }));
      scopes.push("admin");
      metadata.team.name = "blue";
      const given = await store.get("key-1");
      assert.deepEqual(given?.scopes, ["read"]);
      attempt(() => (given.scopes as string[]).push("admin"));
      attempt(() => ((given as { ownerId: string }).ownerId = "mallory"));
      attempt(() => ((given.metadata.team as { name: string }).name = "blue"));
      const again = await store.get("key-1");
      assert.deepEqual(again?.scopes, ["read"]);
      assert.equal(again.ownerId, "owner");
      assert.deepEqual(again.metadata, { team: { name: "red" } });
    }),

    testCase("every field returns any text as it was inserted", async (store) => {
      for (const [index, text] of AWKWARD_TEXTS.entries()) {
        const key = sampleKey({
          id: `${index}${text}`,
          ownerId: text,
          name: text,
          hash: { algorithm: "hmac-sha256", digest: text },
          scopes: [text, "", text],
          roles: [text],
          allow: [text],
          metadata: { [text]: text, list: [text, { [text]: [text] }] },
          revokedAt: 1,
          revokedReason: text,
          rotatedTo: text,
        });
        await store.insert(key);
        assert.deepEqual(await store.get(key.id), key);
        // No folding of case, accents or blanks: each owner sees that one key only.
        assert.deepEqual(await store.list(text, { limit: 10 }), [key]);
      }
    }),

    testCase("metadata with keys of Object.prototype is data", async (store) => {
      const metadata = JSON.parse(
        '{"__proto__":{"admin":true},"constructor":1,"toString":"x","nested":{"__proto__":[1]}}',
      ) as StoredApiKey["metadata"];
      await store.insert(sampleKey({ metadata }));
      const given = await store.get("key-1");
      assert.equal(JSON.stringify(given?.metadata), JSON.stringify(metadata));
      assert.equal((given?.metadata as { admin?: unknown }).admin, undefined);
      assert.equal(({} as { admin?: unknown }).admin, undefined);
    }),

    testCase("numbers up to 2^53-1 are exact", async (store) => {
      const most = Number.MAX_SAFE_INTEGER;
      const key = sampleKey({
        createdAt: most - 1,
        expiresAt: most,
        revokedAt: most - 2,
        graceUntil: most - 3,
        usageCount: most - 4,
        lastUsedAt: most - 5,
        rateLimit: { limit: most, windowSeconds: most - 1 },
        metadata: { most, least: -most, small: 5e-324, third: 1 / 3, big: 1e300 },
      });
      await store.insert(key);
      assert.deepEqual(await store.get("key-1"), key);
    }),

    testCase("text and numbers that not every engine can store are refused, not altered", async (store) => {
      for (const text of UNSTORABLE_TEXTS) {
        await assert.rejects(async () => store.insert(sampleKey({ ownerId: text })));
        await assert.rejects(async () => store.insert(sampleKey({ id: text })));
        assert.deepEqual(await store.list(text, { limit: 10 }), []);
      }
      for (const number of [2 ** 53, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        await assert.rejects(async () => store.insert(sampleKey({ expiresAt: number })), String(number));
      }
      assert.equal(await store.get("key-1"), undefined);
    }),

    ...keyNameCases(testCase),
    ...listCases(testCase),
    ...apiKeyChangeCases(makeStore),
    ...apiKeyAdministrationCases(makeStore),
  ];
}

function listCases(
  testCase: (name: string, check: (store: ApiKeyStore) => Promise<void>) => ConformanceCase,
): ConformanceCase[] {
  return [
    testCase(
      "list returns the owner's keys newest first, equal times by descending id, ended keys included",
      async (store) => {
        await store.insert(sampleKey({ id: "b", createdAt: 100 }));
        await store.insert(sampleKey({ id: "d", createdAt: 50, revokedAt: 60, revokedReason: "gone" }));
        await store.insert(sampleKey({ id: "a", createdAt: 100 }));
        await store.insert(sampleKey({ id: "e", createdAt: 200, expiresAt: 1 }));
        await store.insert(sampleKey({ id: "c", createdAt: 100, ownerId: "other" }));
        assert.deepEqual(ids(await store.list("owner", { limit: 10 })), ["e", "b", "a", "d"]);
        assert.deepEqual(ids(await store.list("other", { limit: 10 })), ["c"]);
        assert.deepEqual(await store.list("nobody", { limit: 10 }), []);
      },
    ),

    testCase("paging omits and repeats no key at any page size, even with equal times and new keys", async (store) => {
      for (let index = 0; index < 11; index += 1)
        await store.insert(sampleKey({ id: `k${index % 10}${index}`, createdAt: 1000 + Math.floor(index / 4) }));
      const all = ids(await store.list("owner", { limit: 100 }));
      assert.equal(all.length, 11);
      for (let size = 1; size <= 12; size += 1) assert.deepEqual(await readAll(store, size), all, `page size ${size}`);
      // Keys made while someone pages are newer than the cursor, so the pages after it stay the same.
      const newer = await readAll(store, 2, async (page) =>
        store.insert(sampleKey({ id: `new${page}`, createdAt: 5000 + page })),
      );
      assert.deepEqual(newer, all);
    }),

    testCase(
      "list returns an empty page for a limit of 0 or below, and for a cursor that is not a key of the owner",
      async (store) => {
        await store.insert(sampleKey());
        await store.insert(sampleKey({ id: "foreign", ownerId: "other", createdAt: 9_000_000_000_000 }));
        assert.deepEqual(await store.list("owner", { limit: 0 }), []);
        assert.deepEqual(await store.list("owner", { limit: -1 }), []);
        assert.deepEqual(await store.list("owner", { limit: 10, after: "unknown" }), []);
        assert.deepEqual(await store.list("owner", { limit: 10, after: "foreign" }), []);
      },
    ),
  ];
}

async function readAll(
  store: ApiKeyStore,
  limit: number,
  between?: (page: number) => Promise<void>,
): Promise<string[]> {
  const seen: string[] = [];
  for (let page = 0; page < 50; page += 1) {
    const after = seen.at(-1);
    const keys = await store.list("owner", after === undefined ? { limit } : { limit, after });
    if (keys.length === 0) return seen;
    assert.ok(keys.length <= limit, "a page is longer than asked for");
    seen.push(...ids(keys));
    await between?.(page);
  }
  return assert.fail("paging does not end");
}

function ids(keys: readonly StoredApiKey[]): string[] {
  return keys.map((key) => key.id);
}

/** A frozen record throws, a copy does not; both are right. */
function attempt(change: () => unknown): void {
  try {
    change();
  } catch (error) {
    assert.ok(error instanceof TypeError);
  }
}
