import assert from "node:assert/strict";
import type { StoredRefreshToken, TokenStore } from "../stores/contracts.js";
import { AWKWARD_TEXTS, caseWith, initialized, UNSTORABLE_TEXTS, type ConformanceCase } from "./conformance.js";
import { tokenNameCases } from "./name-cases.js";
import { sampleToken } from "./samples.js";
import { denialCases, expiryCases } from "./token-denial-cases.js";
import { familyCases } from "./token-family-cases.js";
import { familyListCases } from "./token-list-cases.js";
import { rotationCases } from "./token-rotation-cases.js";

/**
 * The checks of a `TokenStore`, for any test runner.
 *
 * @param makeStore gives an empty store that is not yet initialised, on the machine's clock; its `close` is called when
 *   the case is over
 *
 * @example
 * ```ts
 * import { test } from "node:test";
 * import { type TokenStore } from "portcullis";
 * import { tokenStoreConformance } from "portcullis/testing";
 *
 * function checkTokenStore(makeStore: () => TokenStore): void {
 *   for (const { name, run } of tokenStoreConformance(makeStore)) test(name, run);
 * }
 * ```
 */
export function tokenStoreConformance(makeStore: () => TokenStore | Promise<TokenStore>): ConformanceCase[] {
  const testCase = (name: string, check: (store: TokenStore) => Promise<void>) =>
    caseWith(() => initialized(makeStore), name, check);
  return [
    testCase("init may be called again, and loses nothing", async (store) => {
      const token = sampleToken();
      await store.insert(token);
      await store.denyAccessToken("jti-1", token.expiresAt);
      await store.init();
      assert.deepEqual(await store.get("token-1"), token);
      assert.equal(await store.isRevoked({ jti: "jti-1", subject: "user-1", issuedAt: token.issuedAt }), true);
    }),

    testCase("get returns every field as inserted, and undefined for an unknown id", async (store) => {
      const token = sampleToken();
      await store.insert(token);
      assert.deepEqual(await store.get("token-1"), token);
      for (const id of ["token-2", "TOKEN-1", "", "__proto__", "' or '1'='1", ...UNSTORABLE_TEXTS]) {
        assert.equal(await store.get(id), undefined, JSON.stringify(id));
      }
    }),

    testCase("a token inserted as used and revoked keeps its marks; empty lists come back empty", async (store) => {
      const now = Date.now();
      const marked = sampleToken({
        usedAt: now,
        successorId: "token-2",
        sealedSuccessor: "c2VhbGVk",
        revokedAt: now + 1,
        scopes: [],
        roles: [],
        claims: {},
      });
      await store.insert(marked);
      assert.deepEqual(await store.get("token-1"), marked);
    }),

    testCase("insert rejects an id that exists, and does not change the first token", async (store) => {
      const token = sampleToken();
      await store.insert(token);
      await assert.rejects(async () => store.insert(sampleToken({ subject: "mallory", familyId: "family-2" })));
      assert.deepEqual(await store.get("token-1"), token);
    }),

    testCase("every field returns any text as it was inserted", async (store) => {
      for (const [index, text] of AWKWARD_TEXTS.entries()) {
        const token = sampleToken({
          id: `${index}${text}`,
          hash: text,
          familyId: `${text}${index}`,
          subject: text,
          scopes: [text, "", text],
          roles: [text],
          claims: { [text]: text, list: [text, { [text]: [text] }] },
          successorId: text,
          sealedSuccessor: text,
        });
        await store.insert(token);
        assert.deepEqual(await store.get(token.id), token);
      }
    }),

    testCase("claims with keys of Object.prototype are data", async (store) => {
      const claims = JSON.parse('{"__proto__":{"admin":true},"constructor":1}') as StoredRefreshToken["claims"];
      await store.insert(sampleToken({ claims }));
      const given = await store.get("token-1");
      assert.equal(JSON.stringify(given?.claims), JSON.stringify(claims));
      assert.equal((given?.claims as { admin?: unknown }).admin, undefined);
    }),

    testCase(
      "numbers up to 2^53-1 are exact; text and numbers that not every engine can store are refused",
      async (store) => {
        const most = Number.MAX_SAFE_INTEGER;
        const token = sampleToken({
          issuedAt: most - 3,
          expiresAt: most - 2,
          familyExpiresAt: most,
          usedAt: most - 1,
          revokedAt: most - 4,
        });
        await store.insert(token);
        assert.deepEqual(await store.get("token-1"), token);
        for (const text of UNSTORABLE_TEXTS)
          await assert.rejects(async () => store.insert(sampleToken({ id: "token-2", subject: text })));
        for (const number of [2 ** 53, 1.5, Number.NaN])
          await assert.rejects(async () => store.insert(sampleToken({ id: "token-2", expiresAt: number })));
        assert.equal(await store.get("token-2"), undefined);
      },
    ),

    testCase("changing an object that was passed in or returned does not change what is stored", async (store) => {
      const scopes = ["read"];
      await store.insert(sampleToken({ scopes }));
      scopes.push("admin");
      const given = await store.get("token-1");
      try {
        (given?.scopes as string[]).push("admin");
      } catch (error) {
        assert.ok(error instanceof TypeError);
      }
      assert.deepEqual((await store.get("token-1"))?.scopes, ["read"]);
    }),

    ...tokenNameCases(testCase),
    ...rotationCases(testCase),
    ...familyCases(testCase),
    ...familyListCases(testCase),
    ...denialCases(testCase),
    ...expiryCases(testCase),
  ];
}
