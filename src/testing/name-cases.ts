import assert from "node:assert/strict";
import type { ApiKeyStore, StoredApiKey, StoredRefreshToken } from "../stores/contracts.js";
import { faultOf } from "../stores/health/store-fault.js";
import type { ConformanceCase } from "./conformance.js";
import { sampleKey, sampleToken } from "./samples.js";
import type { TokenCase } from "./token-rotation-cases.js";

/** The longest names: 255 characters of one byte, and of three bytes in UTF-8. */
const LONGEST = ["x".repeat(255), "語".repeat(255)];
const TOO_LONG = LONGEST.map((name) => name + name.charAt(0));
const HOUR_MS = 3_600_000;

type KeyCase = (name: string, check: (store: ApiKeyStore) => Promise<void>) => ConformanceCase;

/** The checks of the length of every name of an API key. */
export function keyNameCases(testCase: KeyCase): ConformanceCase[] {
  return [
    testCase("names of 255 characters, of one byte or three, are stored and found again", async (store) => {
      for (const name of LONGEST) {
        const names = { ownerId: name, rotatedTo: name, madeBy: name, lineage: name, path: [name] };
        const key = sampleKey({ id: name, ...names, firstId: name, revokedAt: 1, revokedReason: name });
        await store.insert(key);
        assert.deepEqual(await store.get(name), key);
        assert.deepEqual(await store.list(name, { limit: 10 }), [key]);
        await store.insert(sampleKey({ id: `old ${name.charAt(0)}` }));
        const successor = sampleKey({ id: `${name.slice(1)}-` });
        assert.equal(await store.rotate(`old ${name.charAt(0)}`, successor, 1), true);
        assert.equal((await store.get(`old ${name.charAt(0)}`))?.rotatedTo, successor.id);
        assert.equal(await store.revoke(successor.id, 5, name), true);
        assert.equal((await store.get(successor.id))?.revokedReason, name);
      }
    }),

    testCase("a name of 256 characters is refused as invalid input, and nothing is stored", async (store) => {
      await store.insert(sampleKey({ id: "before" }));
      for (const name of TOO_LONG) {
        const columns: Partial<StoredApiKey>[] = [
          { id: name },
          { ownerId: name },
          { rotatedTo: name },
          { madeBy: name },
          { lineage: name },
          { firstId: name },
        ];
        for (const column of columns) {
          const key = sampleKey({ id: "key", ...column });
          await assert.rejects(async () => store.insert(key), isInput, JSON.stringify(Object.keys(column)));
          await assert.rejects(async () => store.rotate("before", key, 1), isInput);
          assert.equal(await store.get(key.id), undefined);
        }
        assert.deepEqual(await store.list(name, { limit: 10 }), []);
      }
      assert.deepEqual(await store.get("before"), sampleKey({ id: "before" }));
    }),
  ];
}

/** The checks of the length of every name of a token, and of what is denied. */
export function tokenNameCases(testCase: TokenCase): ConformanceCase[] {
  return [
    testCase("names of 255 characters, of one byte or three, are stored, found again and denied", async (store) => {
      const now = Date.now();
      for (const name of LONGEST) {
        const token = sampleToken({ id: name, familyId: name, subject: name, usedAt: now, successorId: name });
        await store.insert(token);
        assert.deepEqual(await store.get(name), token);
        await store.denyAccessToken(name, now + HOUR_MS);
        assert.equal(await store.isRevoked({ jti: name, subject: "s", issuedAt: now }), true);
        await store.denyFamily(name, now + HOUR_MS);
        assert.equal(await store.isRevoked({ jti: "j", subject: "s", issuedAt: now, familyId: name }), true);
        await store.revokeSubject(name, now, now + HOUR_MS);
        assert.equal(await store.isRevoked({ jti: "j", subject: name, issuedAt: now - 1 }), true);
        assert.equal((await store.get(name))?.revokedAt, now);
      }
    }),

    testCase("a name of 256 characters is refused as invalid input, and nothing is stored or denied", async (store) => {
      const now = Date.now();
      const before = sampleToken({ id: "before" });
      await store.insert(before);
      for (const name of TOO_LONG) {
        const columns: Partial<StoredRefreshToken>[] = [
          { id: name },
          { familyId: name },
          { subject: name },
          { successorId: name },
        ];
        for (const column of columns) {
          const token = sampleToken({ id: "token", ...column });
          await assert.rejects(async () => store.insert(token), isInput, JSON.stringify(Object.keys(column)));
          await assert.rejects(async () => store.rotate("before", now, token, "sealed"), isInput);
          assert.equal(await store.get(token.id), undefined);
        }
        await assert.rejects(async () => store.denyAccessToken(name, now + HOUR_MS), isInput);
        await assert.rejects(async () => store.denyFamily(name, now + HOUR_MS), isInput);
        await assert.rejects(async () => store.revokeSubject(name, now, now + HOUR_MS), isInput);
        const facts = { jti: name, subject: name, issuedAt: now - 1, familyId: name };
        assert.equal(await store.isRevoked(facts), false);
      }
      assert.deepEqual(await store.get("before"), before);
    }),
  ];
}

/** Whether the library blames the value for this error, and not the store. */
export function isInput(error: unknown): boolean {
  assert.equal(faultOf(error), "input");
  return true;
}
